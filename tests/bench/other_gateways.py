"""The gateways that ours is compared with, started with their usual commands and installed in separate folders.

Each is configured to check the caller's key if it can; other features are off, to its advantage.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "artefacts" / "peers"
MODEL = "bench"
KEY = "sk-bench-master"


@dataclass(frozen=True)
class Contender:
    """One gateway: the command that starts it on `port`, and the form of a request to it."""

    name: str
    command: list[str]
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    model: str | None = MODEL
    """What the question says; None where the address names it and the question must not."""
    start_timeout: float = 60.0
    """Seconds until it must answer."""


Make = Callable[[int, str, Path], Contender]
"""(port, upstream as host:port, a folder for its configuration) -> the gateway, not started yet."""


def litellm(port: int, upstream: str, folder: Path) -> Contender:
    config = folder / "litellm.yaml"
    model = {"model": "openai/gpt-4o", "api_base": f"http://{upstream}/v1", "api_key": "sk-bench"}
    general = {"master_key": KEY}
    entry = {"model_name": MODEL, "litellm_params": model}
    config.write_text(json.dumps({"model_list": [entry], "general_settings": general}))  # JSON is YAML
    program = str(_venv("litellm", "litellm[proxy]") / "bin" / "litellm")
    return Contender(
        name="LiteLLM proxy",
        command=[
            program,
            "--config",
            str(config),
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
            "--num_workers",
            "1",
        ],
        path="/v1/chat/completions",
        headers={"Authorization": f"Bearer {KEY}"},
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
        start_timeout=120,
    )


def mlflow(port: int, upstream: str, folder: Path) -> Contender:
    config = folder / "mlflow.yaml"
    provider_config = {"openai_api_key": "sk-bench", "openai_api_base": f"http://{upstream}/v1"}
    model = {"provider": "openai", "name": "gpt-4o", "config": provider_config}
    config.write_text(
        json.dumps({"endpoints": [{"name": MODEL, "endpoint_type": "llm/v1/chat", "model": model}]})
    )
    program = str(_venv("mlflow", "mlflow[gateway]") / "bin" / "mlflow")
    return Contender(
        name="MLflow AI Gateway",
        command=[
            *(program, "gateway", "start", "--config-path", str(config)),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        ],
        path=f"/gateway/{MODEL}/invocations",
        model=None,
        environment={"PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"},
    )


def portkey(port: int, upstream: str, folder: Path) -> Contender:
    program = _package("portkey", "@portkey-ai/gateway") / "build" / "start-server.js"
    return Contender(
        name="Portkey gateway",
        command=["node", str(program), f"--port={port}", "--headless"],
        path="/v1/chat/completions",
        headers={
            "Authorization": "Bearer sk-bench",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://{upstream}/v1",
        },
        environment={"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
    )


PEERS: Mapping[str, Make] = {"mlflow": mlflow, "portkey": portkey, "litellm": litellm}


def _venv(name: str, requirement: str) -> Path:
    """A virtual environment with the newest release of `requirement`, created once."""
    folder = FOLDER / name
    if not (folder / "done").exists():
        _say(f"installing {requirement}")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement])
        (folder / "done").touch()
    return folder


def _package(name: str, package: str) -> Path:
    """The same for a Node package."""
    folder = FOLDER / name
    if not (folder / "done").exists():
        if shutil.which("npm") is None:
            raise SystemExit(f"{package} needs Node. Install nodejs and npm, or leave it out with --only.")
        _say(f"installing {package}")
        folder.mkdir(parents=True, exist_ok=True)
        _run(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", package])
        (folder / "done").touch()
    return folder / "node_modules" / package


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
