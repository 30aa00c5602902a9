"""Counts the queries of this gateway process, in memory, and adds the counts of the other gateway processes of this machine.

Each process writes its counts to a file of its own every WRITE_INTERVAL_SECONDS, beside a lock file that it holds while it runs. A process
that is asked for metrics adds up all files. The counts of ended processes are moved into one common file, so that no sum decreases
when a process is replaced.

Why not prometheus_client: its counters, shared by several processes, take 8.5 us a request and 14 MB a process; these take 0.8 us.
The tests read the text with its parser.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from pydantic_core import from_json, to_json

from serving_ui.gateway import lockfiles
from serving_ui.gateway.record import Record

OVERHEAD_MS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 25.0, 100.0)
LATENCY_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000)
_LATENCY_MS = tuple(map(float, LATENCY_MS))  # comparing floats with floats is faster
WRITE_INTERVAL_SECONDS = 2.0


def _fields(*names: str) -> Callable[[Record], tuple[Any, ...]]:
    """A getter of several fields at once, which is faster than attribute access."""
    return itemgetter(*map(Record._fields.index, names))


_outcome = _fields(
    "endpoint", "status", "completeness", "retries", "fallbacks", "overhead_ms", "total_ms", "first_byte_ms"
)
_tokens = _fields("tokens_in", "tokens_out", "tokens_cached", "tokens_cache_written", "tokens_reasoning")
_COUNTS, _LOCK = ".counts", ".lock"
_ENDED_PROCESSES = "departed"  # a file name that other versions use too
_log = logging.getLogger("serving_ui.gateway")

Counts = dict[str, Any]
"""Numbers, lists of numbers, and dictionaries of these by name."""


class Gauge(NamedTuple):
    """A current value. Of several processes' values the highest is shown."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = {}


class Meter:
    """A Recorder that counts. Call `start` and `stop` once; without them it counts this process alone."""

    def __init__(self, folder: Path) -> None:
        self.gauges: list[Callable[[], Iterable[Gauge]]] = []
        """Called when metrics are requested: circuit breakers, rate limits, the spool."""
        self._folder = folder
        self._name = f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid4().hex[:8]}"
        self._overhead = _histogram(OVERHEAD_MS)
        self._endpoints: dict[str, Counts] = {}
        self._lock = -1
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_periodically, name="gateway-meter", daemon=True)

    def record(self, record: Record) -> None:
        """Count one query."""
        endpoint, status, completeness, retries, fallbacks, overhead, total, first_byte = _outcome(record)
        tokens_in, tokens_out, cached, written, reasoning = _tokens(record)
        _observe(self._overhead, OVERHEAD_MS, overhead)
        counts = self._endpoints.get(endpoint)
        if counts is None:
            counts = self._endpoints[endpoint] = _empty_counts()
        statuses = counts["statuses"]
        statuses[status] = statuses.get(status, 0) + 1
        counts["in"] += tokens_in
        counts["out"] += tokens_out
        if cached or written or reasoning:
            counts["cached"] += cached
            counts["cache_written"] += written
            counts["reasoning"] += reasoning
        counts["retries"] += retries
        counts["fallbacks"] += fallbacks
        if completeness != "limited":
            _observe(counts["upstream"], _LATENCY_MS, total - overhead)
            if first_byte:
                _observe(counts["first_byte"], _LATENCY_MS, first_byte)

    def start(self) -> None:
        """Begin to write the counts to this process's file, for the other processes."""
        try:
            self._lock = lockfiles.create(self._path(self._name, _LOCK))
        except OSError as problem:
            self._problem = (problem.strerror or "it is no folder").lower()
            _log.warning(
                "Metrics of this process are not shared: %s cannot be used (%s).", self._folder, problem
            )
            return
        self._thread.start()

    def check_health(self) -> str | None:
        """A sentence if the sums of `/metrics` lack the counts of this process."""
        if not self._problem:
            return None
        return (
            f"The metrics of this process cannot be shared in the data folder ({self._problem}), so the sums of /metrics lack its counts. "
            f"Make room there, or give the gateway's user the right to write{'' if self._lock >= 0 else ', and restart it'}."
        )

    def stop(self) -> None:
        """Write the counts a last time; other processes go on adding them to theirs."""
        self._stop.set()
        if self._lock >= 0:
            self._thread.join(5)
            os.close(self._lock)
            self._lock = -1

    def total(self) -> tuple[Counts, list[Gauge]]:
        """(counts of all processes, current values)."""
        own = from_json(self._own())
        try:
            all_processes = [own, *self._others()]
        except OSError:
            all_processes = [
                own
            ]  # the folder is unusable, which `start` has logged: only this process counts
        counts: Counts = {}
        gauges: dict[tuple[str, str], Gauge] = {}
        for process in all_processes:
            _add(counts, process["counts"])
            for gauge in (Gauge(*values) for values in process.get("gauges", ())):
                key = (gauge.name, repr(sorted(gauge.labels.items())))
                gauges[key] = max(gauges.get(key, gauge), gauge, key=lambda one: one.value)
        return counts, list(gauges.values())

    def _own(self) -> bytes:
        """Counts and gauges as JSON, serialised in one call, so that no query is counted in between."""
        gauges = [tuple(gauge) for read_gauges in self.gauges for gauge in read_gauges()]
        return to_json(
            {"counts": {"overhead": self._overhead, "endpoints": self._endpoints}, "gauges": gauges}
        )

    def _write_periodically(self) -> None:
        written = b""
        is_over = False
        while not is_over:
            is_over = self._stop.wait(WRITE_INTERVAL_SECONDS)
            try:
                own = self._own()
                if own != written:
                    _write(self._path(self._name, _COUNTS), own)
                written, self._problem = own, ""
            except Exception as problem:  # a bug must not end this thread
                self._report(problem)

    def _report(self, problem: Exception) -> None:
        """Log once that the counts are not shared, with a traceback unless the system refused it."""
        if not self._problem:
            _log.warning(
                "The counts of this process could not be shared in %s (%s). It is tried again. "
                "Make room there, or give this process the right to write.",
                self._folder, problem, exc_info=not isinstance(problem, OSError),
            )  # fmt: skip
        self._problem = (getattr(problem, "strerror", None) or "the log has the reason").lower()

    def _others(self) -> list[Counts]:
        """The counts in the other files. Moves those of ended processes into the common file."""
        running: list[Counts] = []
        with _exclusive_access(self._folder):
            past = _read(self._path(_ENDED_PROCESSES, _COUNTS)) or {"counts": {}, "names": []}
            ended = []
            for path in self._folder.glob(f"*{_COUNTS}"):
                if path.stem in (self._name, _ENDED_PROCESSES):
                    continue
                is_alive = _is_alive(
                    self._path(path.stem, _LOCK)
                )  # before reading: the file of an ended process is final
                content = _read(path)
                if content is None:
                    continue
                if is_alive:
                    running.append(content)
                    continue
                ended.append(path.stem)
                if path.stem not in past["names"]:  # else it was added before, but its file was not deleted
                    _add(past["counts"], content["counts"])
            if ended:
                _write(self._path(_ENDED_PROCESSES, _COUNTS), to_json({**past, "names": ended}))
            for name in ended:
                self._path(name, _COUNTS).unlink(missing_ok=True)
                self._path(name, _LOCK).unlink(missing_ok=True)
        return [past, *running]

    def _path(self, name: str, ending: str) -> Path:
        return self._folder / f"{name}{ending}"


def _histogram(bounds: tuple[float, ...]) -> Counts:
    return {"buckets": [0] * (len(bounds) + 1), "total": 0.0}


def _empty_counts() -> Counts:
    """The counts of an endpoint without queries."""
    return {
        "statuses": {},
        **dict.fromkeys(("in", "out", "cached", "cache_written", "reasoning", "retries", "fallbacks"), 0),
        "upstream": _histogram(LATENCY_MS),
        "first_byte": _histogram(LATENCY_MS),
    }


def _observe(histogram: Counts, bounds: tuple[float, ...], value: float) -> None:
    histogram["buckets"][bisect_left(bounds, value)] += 1
    histogram["total"] += value


def _add(total: Counts, more: Counts) -> None:
    """Add `more` to `total`, number by number."""
    for name, value in more.items():
        if isinstance(value, dict):
            _add(total.setdefault(name, {}), value)
        elif isinstance(value, list):
            before = total.get(name) or [0] * len(value)
            total[name] = [one + other for one, other in zip(before, value, strict=True)]
        else:
            total[name] = total.get(name, 0) + value


def _read(path: Path) -> Counts | None:
    try:
        content: Counts = from_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content


def _write(path: Path, content: bytes) -> None:
    """Write atomically."""
    draft = path.with_suffix(".new")
    draft.write_bytes(content)
    draft.replace(path)


def _is_alive(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            return not lockfiles.is_abandoned(file.fileno())
    except FileNotFoundError:
        return False


@contextmanager
def _exclusive_access(folder: Path) -> Iterator[None]:
    """Hold the lock under which one process at a time reads and moves the files."""
    file = os.open(folder / "adding", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
