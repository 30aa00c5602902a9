"""Models of a team, which the tests deploy on Ray. Imported by Ray's workers, whose environment has no test packages."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from serving_ui.backends.ray_serve.deployments.served_model import InvalidRequest, ServedModel

_PAUSE = threading.Event()  # never set


class Versioned(ServedModel):
    """Answers its version after as many seconds as the query says."""

    def predict(self, body: Any) -> Any:
        _PAUSE.wait(body.get("seconds", 0))
        if "unknown" in body:
            raise InvalidRequest("There is no field unknown.")
        if body.get("fail"):
            raise RuntimeError("out of cheese")
        return {"version": self.arguments["version"], "process": os.getpid()}


class Slow(Versioned):
    """Loads for ten minutes."""

    def load(self) -> None:
        _PAUSE.wait(600)


class Broken(Versioned):
    """Does not load."""

    def load(self) -> None:
        raise ValueError(f"the weights are damaged, said {os.environ.get('HUB_TOKEN', 'nobody')}")


class Killed(Versioned):
    """Is killed while it loads, as by the kernel when the memory of its node is exhausted."""

    def load(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Counting(ServedModel):
    """A chat model that streams numbers."""

    def stream(self, body: Any) -> Iterator[Any]:
        for number in range(body["n"]):
            yield {"choices": [{"index": 0, "delta": {"content": str(number)}}]}
        if body.get("user") == "fail":
            raise RuntimeError("out of numbers")
