"""The base of every provider's config, and what the declarations of its fields mean.

Two rules for all of them: a field that is shown and required must be given, a field that is not shown must not be. A secret has
two spellings in the API (`X` and `X_plaintext`, exactly one) and is one attribute here.
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
"""The validation context for what the database gives back: rules may have become stricter since, and history must stay
readable."""

SecretPath = tuple[str, ...]


class Block(BaseModel):
    """Fields that belong together: a provider's config, or a nested part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    form_choices: ClassVar[tuple[ConfigField, ...]] = ()
    """Choices that only the form has; the API infers them from the fields that are given."""

    @classmethod
    def fields_by_name(cls) -> Mapping[str, ConfigField]:
        """What the provider's file says about each field, by attribute name."""
        return _fields_by_name(cls)

    @classmethod
    def fields(cls) -> tuple[ConfigField, ...]:
        """Every field, flat, in the order of the form."""
        return _fields(cls)

    @classmethod
    def shown(cls, values: Mapping[str, str]) -> list[ConfigField]:
        """The fields to show for what has been answered so far, with what is required by those answers."""
        return flattening.shown(cls.fields(), values)

    @classmethod
    def nested(cls, flat: Mapping[str, object]) -> dict[str, Any]:
        """What a form has, in the shape of the API: hidden, form-only and empty answers are dropped."""
        return flattening.nested(cls.fields(), flat)

    @classmethod
    def accepted_fields(cls) -> dict[str, type[Block] | None]:
        """The names that the API accepts here, with the model of those that are blocks themselves; see `unknown.in_model`."""
        known: dict[str, type[Block] | None] = {}
        for name, field in cls.fields_by_name().items():
            known[name] = field.group
            if field.kind == "secret":
                known[name + block_parser.PLAINTEXT_SUFFIX] = None
        return known

    @model_validator(mode="wrap")
    @classmethod
    def _follow_the_declarations(
        cls, data: object, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        if isinstance(data, cls):
            return handler(data)
        trusted = is_trusted(info)
        read = block_parser.parse(cls.fields_by_name(), data, trusted=trusted)
        made, problems = cls._make(handler, read.given)
        read.problems += problems
        if not trusted and isinstance(data, Mapping):
            read.problems += block_parser.visibility_problems(cls.fields_by_name(), cls.form_choices, read)
        if made is None or read.problems:
            raise as_validation_error(read.problems)
        return made

    @classmethod
    def _make(
        cls, handler: ModelWrapValidatorHandler[Self], given: dict[str, Any]
    ) -> tuple[Self | None, list[Problem]]:
        try:
            return handler(given), []
        except ValidationError as error:
            labels = {name: field.label for name, field in cls.fields_by_name().items()}
            return None, from_validation_error(error, labels)

    def flat(self) -> dict[str, str | Secret]:
        """Every answer under its flat name, with the form-only choices that they imply; `nested()` is the way back."""
        found = {field.name: self._at(field.path) for field in self.fields() if field.path}
        given = {name: value for name, value in found.items() if value is not None}
        return flattening.flat(self.fields(), self.form_choices, given)

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
        """The same config with other secrets in the given places."""
        changed: dict[str, Any] = {path[0]: value for path, value in secrets.items() if len(path) == 1}
        for name in {path[0] for path in secrets if len(path) > 1}:
            inner = {path[1:]: value for path, value in secrets.items() if path[0] == name}
            changed[name] = getattr(self, name).with_secrets(inner)
        return self.model_copy(update=changed)

    def dump(self, spell: Callable[[str, Secret], dict[str, Any]]) -> dict[str, Any]:
        """What was given, in the shape of the API; `spell` says what becomes of each secret."""
        dumped: dict[str, Any] = {}
        for name in self.fields_by_name():
            value = getattr(self, name) if name in self.model_fields_set else None
            if isinstance(value, Secret):
                dumped |= spell(name, value)
            elif isinstance(value, Block):
                dumped[name] = value.dump(spell)
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
