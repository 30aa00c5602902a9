"""A usage spool, and the ingest step of the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving_ui.gateway.record import Record
from serving_ui.gateway.spool import Spool
from serving_ui.lib import clock
from serving_ui.usage.ingest import ingest

Note = Callable[..., None]


def record(name: str = "a", **changes: Any) -> Record:
    """The record of a successful chat query a moment ago."""
    usual: dict[str, Any] = {
        "at": clock.now().timestamp(), "endpoint_id": "e" * 32, "endpoint": "chat", "entity": "entity",
        "config_version": 1, "principal_id": "7", "principal": "owner@example.com", "task": "llm/v1/chat",
        "provider": "openai", "model": "gpt-4o", "status": 200, "tokens_in": 3, "tokens_out": 5,
        "tokens_source": "reported", "first_byte_ms": 20.0, "total_ms": 30.0, "overhead_ms": 0.2,
    }  # fmt: skip
    return Record(request_id=name, **{**usual, **changes})


@dataclass
class Gateway:
    """Writes records to the spool as a gateway process does."""

    folder: Path
    spool: Spool

    def record_requests(self, *names: str, **changes: Any) -> None:
        for name in names or ("a",):
            self.spool.record(record(name, **changes))

    def stop(self) -> None:
        self.spool.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def gateway(folder: Path) -> Iterator[Gateway]:
    made = Gateway(folder, Spool(folder))
    yield made
    made.stop()


@pytest.fixture
def ingest_all(folder: Path, db: None) -> Callable[[], int]:
    """The ingest step of the worker, which returns the number of rows."""
    return lambda: ingest(folder=folder, clock=clock.now).rows
