"""The tables of usage. `ingest` and `retention` write them; `tracing` writes `Mark` only.

Endpoints, entities and principals are plain columns without foreign keys, because usage is kept after they are deleted.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from serving_ui.gateway.meter import LATENCY_MS

LATENCY_NAMES = (*(f"within_{bound}" for bound in LATENCY_MS), "longer")


class SpoolFile(models.Model):
    """How far one file of a gateway's spool has been ingested, with its counts. Kept after the file was deleted."""

    name = models.CharField(max_length=128, unique=True)
    offset = models.PositiveBigIntegerField(default=0)
    answered = models.PositiveIntegerField(default=0)
    """The highest number of a line, which is the number of requests that the gateway answered."""
    rows = models.PositiveIntegerField(default=0)
    """Number of lines stored as rows. `answered - rows - aside` lines are lost, for example to a full disk."""
    aside = models.PositiveIntegerField(default=0, db_default=0)
    """Number of lines that could not be stored; see `set_aside`."""
    first_at = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True, db_index=True)
    is_done = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name


class Request(models.Model):
    """One request to an endpoint, as the gateway recorded it; see `gateway.record`."""

    # DO_NOTHING: `retention` deletes a file after its rows. A cascade would look for rows by scanning the whole table.
    file = models.ForeignKey(SpoolFile, on_delete=models.DO_NOTHING, related_name="requests", db_index=False)
    number = models.PositiveIntegerField()
    at = models.DateTimeField(db_index=True)
    request_id = models.CharField(max_length=128)
    endpoint_id = models.CharField(max_length=32, blank=True)
    endpoint = models.CharField(max_length=63, blank=True)
    entity = models.CharField(max_length=63, blank=True)
    config_version = models.PositiveIntegerField(default=0)
    principal_id = models.CharField(max_length=64, blank=True)
    principal = models.CharField(max_length=254, blank=True)
    task = models.CharField(max_length=32, blank=True)
    provider = models.CharField(max_length=48, blank=True)
    model = models.CharField(max_length=128, blank=True)
    status = models.PositiveSmallIntegerField()
    completeness = models.CharField(max_length=16)
    error_code = models.CharField(max_length=64, blank=True)
    streamed = models.BooleanField(default=False)
    tokens_in = models.PositiveBigIntegerField(default=0)
    tokens_out = models.PositiveBigIntegerField(default=0)
    tokens_source = models.CharField(max_length=12)
    tokens_cached = models.PositiveBigIntegerField(db_default=0)
    tokens_cache_written = models.PositiveBigIntegerField(db_default=0)
    tokens_reasoning = models.PositiveBigIntegerField(db_default=0)
    first_byte_ms = models.FloatField(default=0)
    total_ms = models.FloatField(default=0)
    overhead_ms = models.FloatField(default=0)
    retries = models.PositiveSmallIntegerField(default=0)
    fallbacks = models.PositiveSmallIntegerField(default=0)
    client_request_id = models.CharField(max_length=256, blank=True)
    usage_context = models.JSONField(default=dict)
    traceparent = models.CharField(max_length=128, blank=True)

    class Meta:
        constraints: ClassVar = [
            # Guarantees that no line of a file becomes two rows.
            models.UniqueConstraint(fields=["file", "number"], name="line_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["endpoint_id", "-at"], name="request_newest_first")]

    def __str__(self) -> str:
        return self.request_id


class Sums(models.Model):
    """Sums over requests. Times are milliseconds."""

    endpoint = models.CharField(max_length=63, blank=True)
    requests = models.PositiveBigIntegerField(default=0)
    errors_4xx = models.PositiveBigIntegerField(default=0)
    errors_5xx = models.PositiveBigIntegerField(default=0)
    limited = models.PositiveBigIntegerField(default=0)
    truncated = models.PositiveBigIntegerField(default=0)
    client_left = models.PositiveBigIntegerField(default=0)
    estimated = models.PositiveBigIntegerField(default=0)
    tokens_in = models.PositiveBigIntegerField(default=0)
    tokens_out = models.PositiveBigIntegerField(default=0)
    # Included in tokens_in and tokens_out; providers price them differently.
    tokens_cached = models.PositiveBigIntegerField(db_default=0)
    tokens_cache_written = models.PositiveBigIntegerField(db_default=0)
    tokens_reasoning = models.PositiveBigIntegerField(db_default=0)
    first_byte_ms = models.FloatField(default=0)
    total_ms = models.FloatField(default=0)
    overhead_ms = models.FloatField(default=0)
    slowest_ms = models.FloatField(default=0)
    # Histogram of total_ms: requests above the bound before and up to this bound, in milliseconds.
    within_5 = models.PositiveBigIntegerField(default=0)
    within_10 = models.PositiveBigIntegerField(default=0)
    within_25 = models.PositiveBigIntegerField(default=0)
    within_50 = models.PositiveBigIntegerField(default=0)
    within_100 = models.PositiveBigIntegerField(default=0)
    within_250 = models.PositiveBigIntegerField(default=0)
    within_500 = models.PositiveBigIntegerField(default=0)
    within_1000 = models.PositiveBigIntegerField(default=0)
    within_2500 = models.PositiveBigIntegerField(default=0)
    within_5000 = models.PositiveBigIntegerField(default=0)
    within_10000 = models.PositiveBigIntegerField(default=0)
    within_30000 = models.PositiveBigIntegerField(default=0)
    within_60000 = models.PositiveBigIntegerField(default=0)
    within_120000 = models.PositiveBigIntegerField(default=0)
    within_300000 = models.PositiveBigIntegerField(default=0)
    longer = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True

    @property
    def latency(self) -> list[int]:
        """The histogram: a count for each bound of `gateway.meter.LATENCY_MS`, and one for the requests above the last."""
        return [getattr(self, name) for name in LATENCY_NAMES]


class Minute(Sums):
    """The requests of one minute, for one served entity of an endpoint and one principal."""

    minute = models.DateTimeField()
    endpoint_id = models.CharField(max_length=32, blank=True)
    entity = models.CharField(max_length=63, blank=True)
    principal_id = models.CharField(max_length=64, blank=True)
    principal = models.CharField(max_length=254, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["minute", "endpoint_id", "entity", "principal_id"], name="minute_once"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["endpoint_id", "minute"], name="minute_of_endpoint")]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.minute:%Y-%m-%d %H:%M}"


class Total(Sums):
    """All requests ever, for one served entity of an endpoint. Never decreases, as a Prometheus counter must not."""

    endpoint_id = models.CharField(max_length=32, blank=True)
    entity = models.CharField(max_length=63, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["endpoint_id", "entity"], name="total_once"),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.entity}"


class Mark(models.Model):
    """The position of a task that goes through rows in order, by name. Its row also serves as the lock of ingestion."""

    name = models.CharField(primary_key=True, max_length=32)
    position = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} at {self.position}"
