"""Records the usage of a gateway process: a line in the spool and counts for the metrics, for each query."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from serving_ui.gateway import spool_health
from serving_ui.gateway.meter import Meter
from serving_ui.gateway.record import Record
from serving_ui.gateway.spool import Spool


class UsageRecorder:
    """Call `start` before the first record and `stop` after the last one."""

    def __init__(self, *, spool: Path, metrics: Path) -> None:
        self._spool = Spool(spool)
        self.meter = Meter(metrics)
        self.meter.gauges.append(self._spool.gauges)
        self.health_checks: list[Callable[[], str | None]] = [
            self._spool.check_health,
            self.meter.check_health,
            spool_health.UnprocessedFiles(spool),
            partial(spool_health.set_aside, spool),
            partial(spool_health.nearly_full, spool),
        ]
        """Each returns None, or a sentence for the operator."""

    def record(self, record: Record) -> None:
        """Write the record to the spool and count it."""
        self._spool.record(record)
        self.meter.record(record)

    def start(self) -> None:
        self.meter.start()

    def stop(self) -> None:
        self._spool.stop()
        self.meter.stop()
