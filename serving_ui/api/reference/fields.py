"""The fields of a schema of the document as table rows, inner fields below their own with a path such as `config.routes[]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from serving_ui.api.openapi.document import operations, schemas
from serving_ui.catalogue.code_samples import as_json

Schema = Mapping[str, Any]
SAME_AS_CONFIG = {"pending_config"}  # its fields are listed once, under config


@dataclass(frozen=True)
class Row:
    """One field."""

    path: str
    type: str
    required: bool
    text: str
    choices: tuple[str, ...] = ()
    fields_of: str = ""
    """Where its own fields are listed: `providers`, or the name of an operation."""

    @property
    def has_description(self) -> bool:
        return bool(self.text or self.choices or self.fields_of)

    @property
    def parts(self) -> list[str]:
        """Pieces of the path, between which a line may break."""
        return [part + "." for part in self.path.split(".")[:-1]] + [self.path.rpartition(".")[2]]


def rows(schema: Schema) -> list[Row]:
    """Every field of an object, those of inner objects below their own."""
    return list(_rows(_resolved(schema), ""))


def _rows(schema: Schema, at: str) -> Iterator[Row]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        found = _resolved(field)
        inner = _resolved(found["items"]) if found.get("type") == "array" else found
        path = f"{at}{name}" + ("[]" if inner is not found else "")
        listed_at = _listed_at(field, inner)
        yield Row(
            path, _type(found, inner), name in required, _text(found, inner), _choices(inner), listed_at
        )
        if not listed_at and name not in SAME_AS_CONFIG:
            yield from _rows(inner, path + ".")


def _listed_at(field: Schema, inner: Schema) -> str:
    if "oneOf" in inner or "provider" in inner.get("properties", {}):
        return "providers"
    return _operations_of_settings().get(field.get("$ref", "").rpartition("/")[2], "")


@cache
def _operations_of_settings() -> dict[str, str]:
    """The operation that sets a setting and answers it, by the name of the setting's schema."""
    return {
        operation.body.__name__: operation.name
        for operation in operations()
        if operation.body and operation.body is operation.answer
    }


def _resolved(schema: Schema) -> dict[str, Any]:
    """The schema that a reference names, with the keywords beside the reference."""
    if "$ref" not in schema:
        return dict(schema)
    named = schemas()[schema["$ref"].rpartition("/")[2]]
    return {**named, **{name: value for name, value in schema.items() if name != "$ref"}}


def _type(found: Schema, inner: Schema) -> str:
    kind = "object" if "oneOf" in inner else inner.get("type", "any")
    return f"list of {kind}" if inner is not found else str(kind)


def _text(found: Schema, inner: Schema) -> str:
    parts = [str(found.get("description") or inner.get("description") or "")]
    parts += [
        words % inner[name]
        for name, words in _LIMITS.items()
        if name in inner and not _mentions(parts, inner[name])
    ]
    if inner.get("default") not in (None, "", [], {}):
        default = inner["default"]
        parts.append(f"Default: {default if isinstance(default, str) else as_json(default)}.")
    return " ".join(part for part in parts if part)


_LIMITS = {
    "minimum": "At least %s.",
    "maximum": "At most %s.",
    "maxLength": "At most %s characters.",
    "maxItems": "At most %s items.",
}


def _mentions(parts: list[str], limit: object) -> bool:
    return f"at most {limit}" in " ".join(parts).lower()


def _choices(schema: Schema) -> tuple[str, ...]:
    if "const" in schema:
        return (str(schema["const"]).lower() if schema["const"] is False else str(schema["const"]),)
    return tuple(str(each) for each in schema.get("enum", ()))
