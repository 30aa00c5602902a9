"""Rows of usage. Only `ingest` and `retention` write them.

Endpoints, entities and people are plain columns: usage outlives what it is about, and knows nothing else of the product.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from serving_ui.gateway.meter import LATENCY_MS

LATENCY_NAMES = (*(f"within_{bound}" for bound in LATENCY_MS), "longer")


class SpoolFile(models.Model):
    """How far one file of a gateway's spool has been taken in, and what it came to. Outlives the file itself."""

    name = models.CharField(max_length=128, unique=True)
    offset = models.PositiveBigIntegerField(default=0)
    answered = models.PositiveIntegerField(default=0)
    """The highest number of its rows: so many requests were answered."""
    rows = models.PositiveIntegerField(default=0)
    """So many of them were taken in. What is missing is lost, to a full disk."""
    aside = models.PositiveIntegerField(default=0, db_default=0)
    """So many lines could not be stored and are kept beside the spool."""
    first_at = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True, db_index=True)
    is_done = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name


class Request(models.Model):
    """One request that reached an endpoint, as the gateway recorded it; see `gateway.record`."""

    # Its rows go first. To look for them again would be a walk through all rows, which is what PostgreSQL plans then.
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
            # The last guard of "exactly once": a line of a file can never become two rows.
            models.UniqueConstraint(fields=["file", "number"], name="line_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["endpoint_id", "-at"], name="request_newest_first")]

    def __str__(self) -> str:
        return self.request_id


class Sums(models.Model):
    """What requests come to. Times are milliseconds, added up."""

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
    # Parts of the two above, which have prices of their own.
    tokens_cached = models.PositiveBigIntegerField(db_default=0)
    tokens_cache_written = models.PositiveBigIntegerField(db_default=0)
    tokens_reasoning = models.PositiveBigIntegerField(db_default=0)
    first_byte_ms = models.FloatField(default=0)
    total_ms = models.FloatField(default=0)
    overhead_ms = models.FloatField(default=0)
    slowest_ms = models.FloatField(default=0)
    # How many of them took how many milliseconds in all: more than the bound before, and no more than this one.
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
        """The histogram: a count for each of `gateway.meter.LATENCY_MS`, and one for the rest."""
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
    """All requests ever, for one served entity of an endpoint: it only grows, as who watches a counter expects."""

    endpoint_id = models.CharField(max_length=32, blank=True)
    entity = models.CharField(max_length=63, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["endpoint_id", "entity"], name="total_once"),
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.entity}"


class Mark(models.Model):
    """One row a name: how far something has come that goes through the rows in order. Whoever moves it locks it."""

    name = models.CharField(primary_key=True, max_length=32)
    position = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} at {self.position}"
