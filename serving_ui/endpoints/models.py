"""Rows of endpoints.

State, generation and lease of an endpoint are columns of one row, so that one compare-and-swap decides every race. `transitions` writes
the state; `leases` writes due time and lease; commands write the rest through `transitions.swap`.
"""

from __future__ import annotations

import uuid
from functools import cached_property
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints.events import sentence
from serving_ui.endpoints.lifecycle import Ready, State, Unready, Update
from serving_ui.endpoints.permissions import Level

HERE = "this server"


def new_id() -> str:
    """32 hex digits, the format that clients of the Databricks API expect."""
    return uuid.uuid4().hex


class Workspace(models.Model):
    """Endpoint names are unique within a workspace. The only workspace today is this server."""

    name = models.CharField(max_length=100, unique=True)
    several_external_models = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def here(cls) -> Workspace:
        """This server's row; `wiring.create_built_in` creates it."""
        return cls.objects.get(name=HERE)


class Endpoint(models.Model):
    """A serving endpoint with its state and settings. Name, creator and kind never change."""

    SETTINGS: ClassVar = ("rate_limits", "ai_gateway", "email_notifications", "timeouts")
    """The columns with settings beside the config. Each has the name of its field in the API, and is empty if nothing was set."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="endpoints")
    name = models.CharField(max_length=63)
    description = models.TextField(blank=True)
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField(db_index=True)
    tags = models.JSONField(default=list)  # [{"key", "value"}], by key
    rate_limits = models.JSONField(default=list)  # [RateLimit as the API gives it]
    # The principals that the names in rate limits mean: {limits.Place: limits.Ids}.
    limit_principals = models.JSONField(default=dict, db_default={})
    ai_gateway = models.JSONField(default=dict)  # AiGateway.stored()
    email_notifications = models.JSONField(default=dict)  # EmailNotifications.stored()
    timeouts = models.JSONField(default=dict)  # Timeouts.stored()
    is_ready_made = models.BooleanField(default=False)  # a built-in endpoint
    # A `served_entity.Kind`, fixed by the first config; empty without one. The default in the database is for processes of the release
    # before, which write external models only.
    kind = models.CharField(max_length=20, default="", db_default=Kind.EXTERNAL_MODEL.value, blank=True)

    ready = models.CharField(
        max_length=9, default=Ready.NOT_READY, choices=[(r.value, r.value) for r in Ready]
    )
    config_update = models.CharField(
        max_length=15, default=Update.NOT_UPDATING, choices=[(u.value, u.value) for u in Update]
    )
    # An `Unready`, while the endpoint has an active config and is not ready.
    unready_because = models.CharField(max_length=8, default="", db_default="", blank=True)
    active = models.ForeignKey("ConfigVersion", null=True, on_delete=models.SET_NULL, related_name="+")
    pending = models.ForeignKey("ConfigVersion", null=True, on_delete=models.SET_NULL, related_name="+")
    latest = models.ForeignKey("ConfigVersion", null=True, on_delete=models.SET_NULL, related_name="+")

    generation = models.PositiveIntegerField(
        default=1
    )  # incremented by every change; compared by compare-and-swap
    next_poll_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)  # failed attempts of the running update
    lease_until = models.DateTimeField(null=True)
    lease_token = models.PositiveBigIntegerField(
        default=0
    )  # incremented by every claim; a late worker's writes match no row

    level: Level  # of the asking user; set by queries

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workspace", "name"], name="endpoint_name_once"),
            models.CheckConstraint(
                condition=~Q(config_update=Update.IN_PROGRESS) | Q(next_poll_at__isnull=False),
                name="running_update_is_polled",
            ),
        ]
        # For requests, which name the endpoint, and for the sweep, which looks for due rows every second.
        indexes: ClassVar = [
            models.Index(fields=["name"], name="endpoint_by_name"),
            models.Index(
                fields=["next_poll_at"], name="endpoint_due", condition=Q(next_poll_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> State:
        return State(Ready(self.ready), Update(self.config_update))

    @property
    def is_updating(self) -> bool:
        return self.config_update == Update.IN_PROGRESS

    @property
    def is_stopped(self) -> bool:
        return self.ready == Ready.NOT_READY and self.unready_because == Unready.STOPPED

    @property
    def shown_version(self) -> ConfigVersion | None:
        """The config that pages and API show: the active one, else the pending one, else the newest."""
        return self.active or self.pending or self.latest

    @property
    def task(self) -> str:
        """Empty without a config, and for own models that answer any JSON."""
        return (self.shown_version.config.task or "") if self.shown_version else ""


class ConfigVersion(models.Model):
    """A submitted config with its creator and outcome. Kept as long as its endpoint."""

    class Outcome(models.TextChoices):
        PENDING = "PENDING"
        ACTIVE = "ACTIVE"
        REPLACED = "REPLACED"
        FAILED = "FAILED"
        CANCELED = "CANCELED"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    spec = models.JSONField()  # ConfigSpec.stored(): no secret value
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    outcome = models.CharField(max_length=8, default=Outcome.PENDING, choices=Outcome.choices)
    message = models.TextField(blank=True)  # progress, or why it failed, in the provider's words
    settled_at = models.DateTimeField(null=True)
    deadline = models.DateTimeField()  # restarted after the first failed attempt and at the publication
    # For own models, by name of the served entity: {"application": name in the cluster, "route": path, "source": ModelSource.stored()}.
    deployments = models.JSONField(default=dict, db_default={})
    published_revision = models.PositiveBigIntegerField(
        null=True
    )  # gateways serve it in snapshots of this revision and later

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["endpoint", "number"], name="version_number_once")
        ]

    def __str__(self) -> str:
        return f"{self.endpoint_id} version {self.number}"

    @cached_property
    def config(self) -> ConfigSpec:
        return ConfigSpec.load(self.spec)


def reference_to(scope: str, key: str) -> str:
    """A secret reference as the API spells it."""
    return "{{secrets/" + f"{scope}/{key}" + "}}"


class SecretBinding(models.Model):
    """The secret that one reference of a config version means, and the user on whose right it is sent; see `bindings`.

    The id of a deleted secret stays here and is never reused. The foreign keys have no constraint in the database, so that a process
    of a release without bindings can delete the rows that they name.
    """

    version = models.ForeignKey(
        ConfigVersion, on_delete=models.CASCADE, related_name="bindings", db_constraint=False
    )
    place = models.CharField(max_length=200)  # the path in the config, joined by slashes
    scope = models.CharField(max_length=128)  # scope and key as the config names them
    key = models.CharField(max_length=128)
    secret = models.ForeignKey(
        "vault.StoredSecret", null=True, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False
    )
    authoriser = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    owner = models.ForeignKey(  # creator of the scope, kept when the scope is deleted
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False
    )
    held = models.ForeignKey(  # copy of the value, while the authoriser is deactivated
        "vault.StoredSecret", null=True, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "place"], name="binding_once_a_place")
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return reference_to(self.scope, self.key)


class EndpointEvent(models.Model):
    """One change of an endpoint. Its sentence is built when it is read, in the reader's language."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    type = models.CharField(max_length=48)  # an EventKind
    entity = models.CharField(max_length=63, blank=True)
    params = models.JSONField(default=dict)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    generation = models.PositiveIntegerField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["endpoint", "-at"], name="event_newest_first")]

    def __str__(self) -> str:
        return f"{self.type} of {self.endpoint_id}"

    @property
    def sentence(self) -> str:
        return sentence(self.type, self.params, self.actor.email if self.actor else "")


class Grant(models.Model):
    """The level of a principal or of a group's members on an endpoint. Creator and admins need none."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="grants")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    group = models.ForeignKey("accounts.Group", null=True, on_delete=models.CASCADE, related_name="+")
    level = models.PositiveSmallIntegerField(choices=[(level.value, level.name) for level in Level])

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["endpoint", "user"], name="grant_once_a_user"),
            models.UniqueConstraint(fields=["endpoint", "group"], name="grant_once_a_group"),
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False),
                name="grant_to_one",
            ),
        ]

    def __str__(self) -> str:
        return f"{Level(self.level).name} on {self.endpoint_id}"


class ClusterState(models.Model):
    """What is known of the Ray cluster, and which process may write to it; one row, see `cluster`. Times are on the database's clock."""

    lease_until = models.DateTimeField(null=True)
    lease_token = models.PositiveBigIntegerField(default=0)
    proxies = models.JSONField(default=list)  # base URLs of the proxies that answer
    # By name of the application: {"progress", "message", "is_scaled_to_zero", "failed_since"}, a Unix time or null.
    applications = models.JSONField(default=dict)
    problem = models.TextField(blank=True)  # why the cluster cannot be used, as a sentence

    def __str__(self) -> str:
        return self.problem or ", ".join(self.proxies)


class WorkerHeartbeat(models.Model):
    """When a recurring task of the worker last completed; see `worker_health`. The table has the model's former name."""

    name = models.CharField(primary_key=True, max_length=32)
    ended_at = models.DateTimeField()

    class Meta:
        db_table = "endpoints_chore"

    def __str__(self) -> str:
        return self.name
