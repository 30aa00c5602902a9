"""Python loads this module at the start of processes whose clock a test sets: see tests/support/clocks.py.

It replaces the wall clock of `time`, of `datetime` and of SQLite, which runs in the process. The monotonic clock, which measures
durations and timeouts, is unchanged.
"""

from __future__ import annotations

import ctypes
import datetime
import gc
import os
import sqlite3
import time
from typing import Any

READ_INTERVAL_SECONDS = 0.2
_real_time, _connect = time.time, sqlite3.connect
_ahead, _read_at = 0.0, float("-inf")


def now() -> float:
    """The Unix time of this process."""
    global _ahead, _read_at  # noqa: PLW0603
    if time.monotonic() - _read_at > READ_INTERVAL_SECONDS:
        _read_at = time.monotonic()
        with open(os.environ["TESTS_CLOCK"]) as file:  # noqa: PTH123 (pathlib would be loaded by every process)
            _ahead = float(file.read())
    return _real_time() + _ahead


def _datetime_now(kind: Any, tz: datetime.tzinfo | None = None) -> datetime.datetime:
    return kind.fromtimestamp(now(), tz)  # type: ignore[no-any-return]


def _today(kind: Any) -> datetime.datetime:
    return kind.fromtimestamp(now())  # type: ignore[no-any-return]


def _utcnow(kind: Any) -> datetime.datetime:
    return kind.fromtimestamp(now(), datetime.UTC).replace(tzinfo=None)  # type: ignore[no-any-return]


def _strftime(pattern: str, moment: str, *more: str) -> str:
    """The SQLite function, for the arguments with which Django reads the time."""
    assert (pattern, moment, more) == ("%Y-%m-%d %H:%M:%f", "NOW", ()), (pattern, moment, more)
    return _datetime_now(datetime.datetime, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _connected(*args: Any, **options: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = _connect(*args, **options)
    connection.create_function("strftime", -1, _strftime)
    return connection


def _install() -> None:
    time.time = now
    time.time_ns = lambda: int(now() * 1e9)
    # The attributes of a type written in C cannot be set, but its dictionary can be changed.
    methods = gc.get_referents(datetime.datetime.__dict__)[0]
    for name, method in (("now", _datetime_now), ("today", _today), ("utcnow", _utcnow)):
        methods[name] = classmethod(method)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
    sqlite3.connect = sqlite3.dbapi2.connect = _connected  # type: ignore[assignment]


if "TESTS_CLOCK" in os.environ:
    _install()
