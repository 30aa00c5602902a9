"""Rows of model hosts and of their models."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from django.conf import settings
from django.db import models

from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints.models import Endpoint, new_id


class HostKind(models.TextChoices):
    OPENAI_COMPATIBLE = "openai-compatible", "OpenAI-compatible server"
    DATABRICKS = "databricks", "Databricks workspace"
    PROVIDER = "provider", "Account at a provider"
    LOCAL = "local", "On this machine"


class Health(models.TextChoices):
    UNCHECKED = "UNCHECKED", "Not checked"
    ONLINE = "ONLINE", "Online"
    UNREACHABLE = "UNREACHABLE", "Not reachable"


class ModelHost(models.Model):
    """A server or an account with models, and what the last check of it found."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    name = models.CharField(max_length=40, unique=True)
    kind = models.CharField(max_length=20, choices=HostKind.choices)
    prefix = models.CharField(max_length=40, blank=True)  # of its endpoints' names; empty: the host's name
    # ConfigSpec.stored() of a config whose single served entity says how the host is reached; its model's name and task mean nothing.
    spec = models.JSONField()
    named_models = models.JSONField(default=list)  # [{"name", "task"}]; empty: all that the host lists
    bound_secrets = models.JSONField(
        default=dict
    )  # {place of a reference in `spec`: id of the secret it means}
    authoriser = models.ForeignKey(  # on whose right the references are sent
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField()
    revision = models.PositiveIntegerField(
        default=1
    )  # of `spec`; its endpoints get a new config version when it changes

    health = models.CharField(max_length=11, choices=Health.choices, default=Health.UNCHECKED)
    error = models.TextField(blank=True)  # why it is not online, in a sentence
    note = models.TextField(blank=True)  # which of its models were left out
    failures = models.PositiveIntegerField(default=0)  # checks that failed since the last that did not
    checked_at = models.DateTimeField(null=True)
    next_check_at = models.DateTimeField(db_index=True)
    checking_until = models.DateTimeField(
        null=True
    )  # a worker checks it now; after this time another one may

    def __str__(self) -> str:
        return self.name

    @cached_property
    def config(self) -> ConfigSpec:
        return ConfigSpec.load(self.spec)

    @property
    def external(self) -> ExternalModel:
        return self.config.served_entities[0].external

    @property
    def secret_reference(self) -> str:
        """The first reference to a secret; empty without one."""
        references = (secret.reference for secret in self.config.secrets().values() if secret.scope)
        return next(references, "")

    @property
    def base_url(self) -> str:
        """The address that was given; empty if the provider has a fixed one."""
        flat = self.external.config.flat()
        addresses = (flat.get(field.name) for field in self.external.config.fields() if field.kind == "url")
        return next((each for each in addresses if isinstance(each, str)), "")

    @property
    def number_of_models(self) -> int:
        """How many it has now; only on rows of `queries`."""
        return int(self.models_here)  # type: ignore[attr-defined]  # an annotation

    @property
    def name_prefix(self) -> str:
        return self.prefix or self.name


class FoundationModel(models.Model):
    """A model of a host, which has an endpoint of its own."""

    host = models.ForeignKey(ModelHost, on_delete=models.CASCADE, related_name="models")
    endpoint = models.OneToOneField(Endpoint, on_delete=models.CASCADE, related_name="foundation_model")
    model_id = models.CharField(max_length=256)
    display_name = models.CharField(max_length=100)
    task = models.CharField(max_length=30)
    host_revision = models.PositiveIntegerField()  # of the host, when the endpoint's newest config was made
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    gone_since = models.DateTimeField(null=True)  # since when its host no longer has it

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["host", "model_id"], name="model_once_a_host")
        ]
        indexes: ClassVar = [models.Index(fields=["display_name", "id"], name="model_by_display_name")]

    def __str__(self) -> str:
        return self.display_name
