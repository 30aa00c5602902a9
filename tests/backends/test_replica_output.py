"""What a replica prints and logs: neither the values of its environment variables nor their former ones."""

from __future__ import annotations

import logging
import os
import sys

import pytest

from serving_ui.backends.ray_serve.deployments.replica import Replica, log
from serving_ui.backends.ray_serve.deployments.served_model import ServedModel

FORMER, NOW = "the-former-token", "the-token-of-today"


class Printing(ServedModel):
    def load(self) -> None:
        sys.stdout.write(f"loaded with {os.environ['MODEL_TOKEN']}\n")


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Replica:
    """Of the class above. Streams, logger and environment are as before after the test."""
    monkeypatch.setenv("MODEL_TOKEN", "")
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr(log, "filters", [])
    monkeypatch.setattr(log, "propagate", True)
    arguments = {"kind": "deployment", "location": f"{__name__}:Printing", "engine_arguments": {}}
    return Replica({**arguments, "task": None, "model_id": "m", "concurrency": 1, "cpus": 1})


def test_former_values_stay_out_of_what_it_writes(
    replica: Replica, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    replica.reconfigure({"environment": {"MODEL_TOKEN": FORMER}})
    replica.reconfigure({"environment": {"MODEL_TOKEN": NOW}})
    sys.stdout.write(f"printed {FORMER} {NOW}\n")
    sys.stderr.write(f"an error {FORMER}\n")
    with caplog.at_level(logging.INFO, logger=log.name):
        log.info("logged %s", FORMER)
        try:
            raise ValueError(f"refused {FORMER}")
        except ValueError:
            log.exception("The model failed.")
    written = capsys.readouterr()
    assert written.out == "loaded with [secret]\nprinted [secret] [secret]\n"
    assert written.err.startswith("an error [secret]\n")
    assert "logged [secret]" in caplog.text
    assert "ValueError: refused [secret]" in caplog.text
    assert FORMER not in caplog.text
