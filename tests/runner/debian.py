"""Installs the programs that the tests need from Debian packages, with apt-get where possible. The product needs none of them."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

from serving_ui.bootstrap.errors import StartError


@dataclass(frozen=True)
class Package:
    """A Debian package, and the program whose presence shows that it is installed."""

    name: str
    program: str
    elsewhere: str = ""  # a pattern of its path when it is not on PATH

    def is_installed(self) -> bool:
        return shutil.which(self.program) is not None or bool(glob.glob(self.elsewhere))  # noqa: PTH207 -- an absolute pattern


NEEDED = (
    Package("chromium", "chromium"),
    Package("redis-server", "redis-server"),
    Package("postgresql", "postgres", elsewhere="/usr/lib/postgresql/*/bin/postgres"),
)

# For the mark `containers`, which only `--all` runs.
FOR_CONTAINERS = (
    Package("podman", "podman"),
    Package("buildah", "buildah"),
    Package("runc", "runc"),
    Package("catatonit", "catatonit"),
    Package("containernetworking-plugins", "bridge", elsewhere="/usr/lib/cni/bridge"),
    Package("netavark", "netavark", elsewhere="/usr/lib/podman/netavark"),
    Package("aardvark-dns", "aardvark-dns", elsewhere="/usr/lib/podman/aardvark-dns"),
    Package("debootstrap", "debootstrap", elsewhere="/usr/sbin/debootstrap"),
)


def ensure_installed(packages: tuple[Package, ...]) -> None:
    """Install those that are missing. Raises StartError if this process may not."""
    missing = [package.name for package in packages if not package.is_installed()]
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise StartError(
            f"The checks need {names}, which only the system can install. "
            f"Install it (on Debian: sudo apt-get install {names}) and start again."
        )
    print(f"Installing {names} with apt-get.", file=sys.stderr, flush=True)
    _apt_get("update")
    _apt_get("install", "--yes", "--no-install-recommends", *missing)


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", "--quiet=2", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise StartError(
            f"apt-get {arguments[0]} failed, and its last words were: {words[-1]} Repair that and start again."
        )
