"""A served entity that runs on this server's own engines: a model with its version and its compute.

In the API its fields stand in the served entity itself, beside `name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    field_validator,
    model_validator,
)

from serving_ui.catalogue.problems import Problem, as_validation_error, field_error
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _, has_control_characters

MAX_MODEL_NAME_LENGTH = 255
MAX_VERSION_LENGTH = 64
MAX_ENVIRONMENT_VARS = 100
MAX_VALUE_LENGTH = 32_768
CONCURRENCY_STEP = 4
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class WorkloadType(StrEnum):
    CPU = "CPU"
    CPU_MEDIUM = "CPU_MEDIUM"
    CPU_LARGE = "CPU_LARGE"
    GPU_SMALL = "GPU_SMALL"
    GPU_MEDIUM = "GPU_MEDIUM"
    GPU_LARGE = "GPU_LARGE"
    GPU_XLARGE = "GPU_XLARGE"
    GPU_XLARGE_8 = "GPU_XLARGE_8"
    MULTIGPU_MEDIUM = "MULTIGPU_MEDIUM"


class WorkloadSize(StrEnum):
    SMALL = "Small"
    MEDIUM = "Medium"
    LARGE = "Large"


def _model_name(value: str) -> str:
    if not value.strip() or has_control_characters(value):
        raise field_error(_("Give the name of a model under My models."))
    return value.strip()


def _version(value: str) -> str:
    if not value.strip() or has_control_characters(value):
        raise field_error(_("Give a version of the model."))
    return value.strip()


_SIZES = (
    "workload_size",
    "min_provisioned_concurrency",
    "max_provisioned_concurrency",
    "min_provisioned_throughput",
    "max_provisioned_throughput",
    "provisioned_model_units",
)
Amount = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class OwnModel(BaseModel):
    """At most one of the four ways to size it is given: `workload_size`, concurrency, throughput, or model units."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    entity_name: Annotated[
        str,
        Field(max_length=MAX_MODEL_NAME_LENGTH, description="The name of one of your models."),
        AfterValidator(_model_name),
    ]
    entity_version: Annotated[
        str, Field(max_length=MAX_VERSION_LENGTH, description="Its version."), AfterValidator(_version)
    ]
    task: Task | None = None
    """Of the registered model. Known once the config was admitted; requests cannot set it."""
    workload_type: Annotated[WorkloadType, Field(description="The hardware of each replica.")] = (
        WorkloadType.CPU
    )
    workload_size: Annotated[
        WorkloadSize | None,
        Field(
            description="Concurrent requests: Small 4, Medium 8 to 16, Large 16 to 64. The default is Small."
        ),
    ] = None
    scale_to_zero_enabled: Annotated[
        StrictBool, Field(description="Whether the last replica is stopped when there are no requests.")
    ] = False
    min_provisioned_throughput: Annotated[
        Amount | None, Field(description="Tokens per second that are always ready.")
    ] = None
    max_provisioned_throughput: Annotated[
        Amount | None, Field(description="Tokens per second up to which it scales.")
    ] = None
    min_provisioned_concurrency: Annotated[
        Amount | None, Field(description="Concurrent requests that are always ready, a multiple of 4.")
    ] = None
    max_provisioned_concurrency: Annotated[
        Amount | None, Field(description="Concurrent requests up to which it scales, a multiple of 4.")
    ] = None
    provisioned_model_units: Annotated[
        Amount | None, Field(description="Replicas of the model: one model unit is one replica.")
    ] = None
    burst_scaling_enabled: Annotated[
        StrictBool, Field(description="With model units: whether twice the units may run for a while.")
    ] = True
    environment_vars: Annotated[
        Mapping[str, str | Secret],
        Field(
            max_length=MAX_ENVIRONMENT_VARS,
            description="Environment variables of the model: plain values, or exactly {{secrets/scope/key}}.",
        ),
    ] = Field(default_factory=dict)

    @field_validator("environment_vars", mode="before")
    @classmethod
    def _read_variables(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        problems = [
            Problem((str(name),), problem)
            for name, value in data.items()
            if (problem := _variable_problem(name, value))
        ]
        if problems:
            raise as_validation_error(problems)
        return {name: _value(value) for name, value in data.items()}

    @model_validator(mode="before")
    @classmethod
    def _default_size(cls, data: object) -> object:
        if isinstance(data, Mapping) and all(data.get(name) is None for name in _SIZES):
            return {**data, "workload_size": WorkloadSize.SMALL.value}
        return data

    @model_validator(mode="after")
    def _sized_once(self) -> Self:
        problems = list(self._size_problems())
        if problems:
            raise as_validation_error(problems)
        return self

    def _size_problems(self) -> Iterator[Problem]:
        ways = {
            "workload_size": self.workload_size,
            "max_provisioned_concurrency": self.max_provisioned_concurrency,
            "max_provisioned_throughput": self.max_provisioned_throughput,
            "provisioned_model_units": self.provisioned_model_units,
        }
        chosen = [name for name, value in ways.items() if value is not None]
        for name in chosen[1:]:
            message = _("%(field)s and %(other)s are two ways to give the same. Give one of them.")
            yield Problem((name,), message.fill(field=name, other=chosen[0]), "not_applicable")
        for unit in ("concurrency", "throughput"):
            yield from self._range_problems(unit)
        if self.provisioned_model_units == 0:
            yield Problem(("provisioned_model_units",), _("Give at least 1 model unit."))

    def _range_problems(self, unit: str) -> Iterator[Problem]:
        least, most = f"min_provisioned_{unit}", f"max_provisioned_{unit}"
        low, high = getattr(self, least), getattr(self, most)
        if high is None:
            if low is not None:
                yield Problem((most,), _("Give %(field)s, too.").fill(field=most), "required")
            return
        if high == 0:
            yield Problem((most,), _("%(field)s must be more than 0.").fill(field=most))
        elif (low or 0) > high:
            message = _("%(field)s cannot be more than %(other)s.")
            yield Problem((least,), message.fill(field=least, other=most))
        if unit == "concurrency":
            for name, value in ((least, low), (most, high)):
                if (value or 0) % CONCURRENCY_STEP:
                    yield Problem((name,), _("%(field)s must be a multiple of 4.").fill(field=name))

    def secrets(self) -> dict[str, Secret]:
        """The environment variables that are secrets, by name."""
        return {name: value for name, value in self.environment_vars.items() if isinstance(value, Secret)}

    def with_secrets(self, secrets: Mapping[str, Secret]) -> OwnModel:
        """A copy with these environment variables replaced."""
        return self.model_copy(update={"environment_vars": {**self.environment_vars, **secrets}})

    def dump(self) -> dict[str, Any]:
        """In the format of the API, without fields that have their default. Secrets are references."""
        found = self.model_dump(mode="json", exclude_defaults=True, exclude={"environment_vars"})
        found |= {
            "workload_type": self.workload_type.value,
            "scale_to_zero_enabled": self.scale_to_zero_enabled,
        }
        if self.environment_vars:
            found["environment_vars"] = {
                name: value.reference if isinstance(value, Secret) else value
                for name, value in self.environment_vars.items()
            }
        return found


FIELDS = tuple(OwnModel.model_fields)


def _variable_problem(name: object, value: object) -> Any:
    if not isinstance(name, str) or not _VARIABLE_NAME.fullmatch(name):
        return _("An environment variable's name has letters, digits and underscores, at most 128.")
    if isinstance(value, Secret):
        return None
    if not isinstance(value, str):
        return _("The value of an environment variable must be text.")
    if len(value) > MAX_VALUE_LENGTH or "\x00" in value:
        return _("The value of an environment variable has at most 32768 characters.")
    return None


def _value(value: str | Secret) -> str | Secret:
    """A secret if the text is exactly a reference; every other text is plain, as at Databricks."""
    if isinstance(value, Secret):
        return value
    try:
        return Secret.from_reference(value)
    except ValueError:
        return value
