"""A small checkout for each test, with the real manage.py and a replacement of Django that prints its arguments.

The replacement is a wheel built by the test, so that venv and pip are used for real, but without the network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

from tests.architecture.sources import ROOT

STAND_IN = """
import json, os, sys
VERSION = {version!r}
def execute_from_command_line(argv):
    print(json.dumps([VERSION, sys.prefix, argv]))
"""
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel(folder: Path, *, name: str = "standin", version: str = "1.0") -> Path:
    """Builds the wheel and returns its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    files = {
        "django/__init__.py": "",
        "django/core/__init__.py": "",
        "django/db.py": "class Error(Exception): pass\n",
        "django/core/management.py": STAND_IN.format(version=version),
        f"{about}/METADATA": METADATA.format(name=name, version=version),
        f"{about}/WHEEL": WHEEL,
    }
    record = "".join(f"{file},,\n" for file in files) + f"{about}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in {**files, f"{about}/RECORD": record}.items():
            archive.writestr(file, content)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Checkout:
    """A fresh clone, with a lock of one package."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "clone"
        self.wheels = folder / "wheels"
        for part in (
            "serving_ui/__init__.py",
            "serving_ui/bootstrap",
            "serving_ui/server",
            "serving_ui/management",
            "serving_ui/lib",
        ):
            target = self.root / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, target)
        shutil.copy(ROOT / "manage.py", self.root)
        self.lock(version="1.0")
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SERVING_UI_", "PIP_", "COV_", "PYTEST_", "DJANGO_"))
        }
        self.env = {
            **clean,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }

    @property
    def command(self) -> Path:
        return self.root / "manage.py"

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def lock(self, *, version: str, sha256: str = "") -> None:
        wheel = make_wheel(self.wheels, version=version)
        (self.root / "requirements.lock").write_text(
            f"standin=={version} --hash=sha256:{sha256 or digest(wheel)}\n"
        )
