"""Rows of registered models."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from serving_ui.catalogue.model_source import DEFAULT_CHUNK_SIZE, ModelSource, SourceKind
from serving_ui.catalogue.tasks import Task


class RegisteredModel(models.Model):
    """One version of a model. It never changes: another location or other arguments are another version."""

    KINDS: ClassVar = (SourceKind.LLAMA_CPP, SourceKind.VLLM, SourceKind.DEPLOYMENT)
    """Those that are registered here; models of MLflow are registered there."""

    name = models.CharField(max_length=255)
    version = models.CharField(max_length=64)
    kind = models.CharField(max_length=16)  # a SourceKind
    location = models.CharField(max_length=1024)
    task = models.CharField(max_length=32, blank=True)  # a Task; empty for a model that answers any JSON
    engine_arguments = models.JSONField(default=dict)
    packages = models.JSONField(default=list)
    throughput_chunk_size = models.PositiveIntegerField(default=DEFAULT_CHUNK_SIZE)
    description = models.TextField(blank=True)
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "version"], name="registered_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    @property
    def source(self) -> ModelSource:
        return ModelSource(
            kind=SourceKind(self.kind),
            location=self.location,
            task=Task(self.task) if self.task else None,
            engine_arguments=self.engine_arguments,
            packages=tuple(self.packages),
            throughput_chunk_size=self.throughput_chunk_size,
        )
