"""The base classes of API bodies: null counts as missing, and unknown fields are ignored and reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator

from serving_ui.catalogue import unknown
from serving_ui.catalogue.problems import validated
from serving_ui.catalogue.unknown import Accepted


class ApiModel(BaseModel):
    """A part of an API body. A field that is null counts as missing."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    further_fields: ClassVar[tuple[str, ...]] = ()
    """Names that are accepted beside the pydantic fields, so that they are not reported as unknown."""

    @classmethod
    def accepted_fields(cls) -> Accepted:
        return {**dict.fromkeys(cls.further_fields), **unknown.fields_of(cls)}

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if value is not None}
        return data


class RequestBody(ApiModel):
    """A whole request body with the paths of its unknown fields, which do not count when two bodies are compared."""

    _unknown: list[str] = PrivateAttr(default_factory=list)

    @property
    def unknown(self) -> list[str]:
        """Paths of the unknown fields, if the body was made by `parsed`."""
        return self._unknown

    @classmethod
    def parsed(cls, body: object, *prefix: str) -> Self:
        """Read a body. Raises SpecErrors with paths that start with `prefix`."""
        instance = validated(cls.model_validate, body, *prefix)
        instance._unknown.extend(unknown.in_model(cls, body))
        return instance

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]
