"""The images: the product's own, built from the Dockerfile, and those that it and compose.yaml name.

An image that is not there already is made here: the base by debootstrap, PostgreSQL, Redis and Caddy from Debian's packages
(services.Dockerfile). So the tests need Debian's mirrors and a package index, and no container registry.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.architecture.sources import ROOT
from tests.containers import compose
from tests.containers.stack import podman

BUILD_SECONDS = 3600.0


@contextmanager
def built_images(image: str) -> Iterator[None]:
    """Builds the product's image under this name and whatever it needs; removes what it has made."""
    made = []
    try:
        if _is_missing(base()):
            made.append(base())
            _make_base(base())
        for service in ("postgres", "redis", "caddy"):
            name = _image_of("proxy" if service == "caddy" else service)
            if _is_missing(name):
                made.append(name)
                _build(name, "--target", service, "--file", f"{Path(__file__).parent}/services.Dockerfile")
        made.append(image)
        _build(image)
        yield
    finally:
        for name in reversed(made):
            podman("image", "rm", "--force", name, check=False)
        podman("image", "prune", "--force", "--filter", f"label={LABEL}", check=False)


LABEL = "serving-ui-test"


def base() -> str:
    """The base image that the Dockerfile names."""
    [line] = [line for line in compose.DOCKERFILE.read_text().splitlines() if line.startswith("ARG BASE=")]
    return line.partition("=")[2]


def _image_of(service: str) -> str:
    every = dict.fromkeys(compose.variables(), "x")
    return str(compose.load(every)["services"][service]["image"])


def _is_missing(image: str) -> bool:
    return podman("image", "exists", image, check=False).returncode != 0


def _make_base(name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="serving-ui-base-") as folder:
        for command in (
            ["debootstrap", "--variant=minbase", "bookworm", f"{folder}/root"],
            ["tar", "--create", "--directory", f"{folder}/root", "--file", f"{folder}/root.tar", "."],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=BUILD_SECONDS)
        podman("import", f"{folder}/root.tar", name, seconds=BUILD_SECONDS)


def _build(name: str, *options: str) -> None:
    """`SSL_CERT_FILE` names the certificates of a proxy, if the machine has one."""
    certificates = os.environ.get("SSL_CERT_FILE", "")
    secret = ["--secret", f"id=ca,src={certificates}"] if certificates else []
    podman(
        "build", "--format", "docker", "--network", "host", "--label", LABEL, "--pull=never", *secret, *options, "--tag", name,
        str(ROOT), seconds=BUILD_SECONDS,
    )  # fmt: skip
