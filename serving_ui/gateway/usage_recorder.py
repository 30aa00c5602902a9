"""The Recorder of a gateway process: a line in the spool for each request, and counts for whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from serving_ui.gateway import spool_health
from serving_ui.gateway.meter import Meter
from serving_ui.gateway.record import Record
from serving_ui.gateway.spool import Spool


class UsageRecorder:
    """`start` before the first record, `stop` after the last one."""

    def __init__(self, *, spool: Path, metrics: Path) -> None:
        self._spool = Spool(spool)
        self.meter = Meter(metrics)
        self.meter.gauges.append(self._spool.gauges)
        self.health_checks: list[Callable[[], str | None]] = [
            self._spool.health_problem,
            self.meter.health_problem,
            spool_health.Waiting(spool),
            partial(spool_health.set_aside, spool),
            partial(spool_health.nearly_full, spool),
        ]
        """Each a sentence for whoever runs this, or nothing."""

    def record(self, record: Record) -> None:
        """Writes it down and counts it."""
        self._spool.record(record)
        self.meter.record(record)

    def start(self) -> None:
        self.meter.start()

    def stop(self) -> None:
        self._spool.stop()
        self.meter.stop()
