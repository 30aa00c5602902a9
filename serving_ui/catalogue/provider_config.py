"""The base class of providers' configs, which validates and dumps the declared fields.

A field that is shown and required must have a value, and a field that is not shown must have none. A secret is one attribute here, and
either `X` (a reference) or `X_plaintext` in the API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from serving_ui.catalogue import block_parser, flattening
from serving_ui.catalogue.fields import ConfigField
from serving_ui.catalogue.problems import Problem, as_validation_error, from_validation_error
from serving_ui.catalogue.secret import Secret

TRUSTED = {"trusted": True}
"""The validation context for stored configs, which skips rules that may be newer than the config."""

SecretPath = tuple[str, ...]


class Block(BaseModel):
    """Fields that belong together: a provider's config, or a nested part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    form_choices: ClassVar[tuple[ConfigField, ...]] = ()
    """Choices that only the form has; the API infers them from the other fields."""

    @classmethod
    def fields_by_name(cls) -> Mapping[str, ConfigField]:
        """The declared fields by attribute name."""
        return _fields_by_name(cls)

    @classmethod
    def fields(cls) -> tuple[ConfigField, ...]:
        """All fields including those of nested blocks, in the order of the form."""
        return _fields(cls)

    @classmethod
    def shown(cls, values: Mapping[str, str]) -> list[ConfigField]:
        """The fields to show for these values of the form, with `required` set according to them."""
        return flattening.shown(cls.fields(), values)

    @classmethod
    def nested(cls, flat: Mapping[str, object]) -> dict[str, Any]:
        """The values of a form in the format of the API, without hidden, form-only and empty fields."""
        return flattening.nested(cls.fields(), flat)

    @classmethod
    def accepted_fields(cls) -> dict[str, type[Block] | None]:
        """The names of the fields in the API, with the model of those that are blocks; see `unknown.in_model`."""
        known: dict[str, type[Block] | None] = {}
        for name, field in cls.fields_by_name().items():
            known[name] = field.group
            if field.kind == "secret":
                known[name + block_parser.PLAINTEXT_SUFFIX] = None
        return known

    @model_validator(mode="wrap")
    @classmethod
    def _validate_fields(
        cls, data: object, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        if isinstance(data, cls):
            return handler(data)
        trusted = is_trusted(info)
        block = block_parser.parse(cls.fields_by_name(), data, trusted=trusted)
        model, problems = cls._make(handler, block.values)
        block.problems += problems
        if not trusted and isinstance(data, Mapping):
            block.problems += block_parser.visibility_problems(cls.fields_by_name(), cls.form_choices, block)
        if model is None or block.problems:
            raise as_validation_error(block.problems)
        return model

    @classmethod
    def _make(
        cls, handler: ModelWrapValidatorHandler[Self], values: dict[str, Any]
    ) -> tuple[Self | None, list[Problem]]:
        try:
            return handler(values), []
        except ValidationError as error:
            labels = {name: field.label for name, field in cls.fields_by_name().items()}
            return None, from_validation_error(error, labels)

    def flat(self) -> dict[str, str | Secret]:
        """The values by flat name, with inferred form-only choices; the inverse of `nested()`."""
        found = {field.name: self._at(field.path) for field in self.fields() if field.path}
        values = {name: value for name, value in found.items() if value is not None}
        return flattening.flat(self.fields(), self.form_choices, values)

    def _at(self, path: SecretPath) -> Any:
        value: Any = self
        for name in path:
            value = None if value is None else getattr(value, name)
        return value

    def secrets(self) -> dict[SecretPath, Secret]:
        """Every secret that is given, by its path."""
        found = ((field.path, self._at(field.path)) for field in self.fields() if field.kind == "secret")
        return {path: value for path, value in found if isinstance(value, Secret)}

    def with_secrets(self, secrets: Mapping[SecretPath, Secret]) -> Self:
        """A copy of the config with the secrets at these paths replaced."""
        changed: dict[str, Any] = {path[0]: value for path, value in secrets.items() if len(path) == 1}
        for name in {path[0] for path in secrets if len(path) > 1}:
            inner = {path[1:]: value for path, value in secrets.items() if path[0] == name}
            changed[name] = getattr(self, name).with_secrets(inner)
        return self.model_copy(update=changed)

    def dump(self, dump_secret: Callable[[str, Secret], dict[str, Any]]) -> dict[str, Any]:
        """The given fields in the format of the API; `dump_secret` returns the fields of a secret."""
        dumped: dict[str, Any] = {}
        for name in self.fields_by_name():
            value = getattr(self, name) if name in self.model_fields_set else None
            if isinstance(value, Secret):
                dumped |= dump_secret(name, value)
            elif isinstance(value, Block):
                dumped[name] = value.dump(dump_secret)
            elif value is not None:
                dumped[name] = value
        return dumped


class ProviderConfig(Block):
    """The config block of one provider."""


def is_trusted(info: ValidationInfo) -> bool:
    return info.context is TRUSTED


@cache
def _fields_by_name(model: type[Block]) -> Mapping[str, ConfigField]:
    extras = {name: info.json_schema_extra for name, info in model.model_fields.items()}
    return {
        name: replace(extra, name=name, path=(name,))
        for name, extra in extras.items()
        if isinstance(extra, ConfigField)
    }


@cache
def _fields(model: type[Block]) -> tuple[ConfigField, ...]:
    return flattening.flat_fields(_fields_by_name(model), model.form_choices)
