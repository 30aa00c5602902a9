"""The tables of revisions. Only the modules of this package write them.

Their tables are named after the app `endpoints`, where these models were before: a process of the version before uses the same
tables during a rolling upgrade.
"""

from __future__ import annotations

from django.db import models


class Revision(models.Model):
    """One row: the number of the newest revision. Every change that gateways must follow raises it by one."""

    number = models.PositiveBigIntegerField(default=1)

    class Meta:
        db_table = "endpoints_revision"

    def __str__(self) -> str:
        return str(self.number)


class Change(models.Model):
    """What a revision changed, so that a gateway rebuilds that part of its snapshot and nothing else."""

    revision = models.PositiveBigIntegerField(db_index=True)
    kind = models.CharField(max_length=12)  # a changes.Subject
    subject = models.CharField(max_length=260, blank=True)  # id, digest or name, depending on `kind`

    class Meta:
        db_table = "endpoints_change"

    def __str__(self) -> str:
        return f"{self.revision}: {self.kind} {self.subject}"


class GatewayProcess(models.Model):
    """A gateway process: the revision that it serves, when it last reported, and how it counts rate limits."""

    id = models.CharField(primary_key=True, max_length=64)
    revision = models.PositiveBigIntegerField()
    seen_at = models.DateTimeField()
    limits = models.CharField(max_length=6, default="own")  # a value of gateway.limits.Mode

    class Meta:
        db_table = "endpoints_gatewayprocess"

    def __str__(self) -> str:
        return self.id
