"""Finds the fields of a request body that its model does not have. They are ignored and reported to the caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import get_args

from pydantic import BaseModel

MAX_REPORTED = 50

Accepted = Mapping[str, type[BaseModel] | None]
"""The names of the fields that a model accepts, with the model of those that are objects or lists of objects."""


def in_model(model: type[BaseModel], body: object) -> list[str]:
    """The paths of unknown fields, such as `config.served_entities[0].x`; fields that are null are left out.

    A model that accepts other names than those of its pydantic fields says so with a class method `accepted_fields`.
    """
    return list(islice(_in_model(model, body, ""), MAX_REPORTED))


def fields_of(model: type[BaseModel]) -> Accepted:
    """The pydantic fields of a model."""
    return {name: next(_models_in(info.annotation), None) for name, info in model.model_fields.items()}


def _in_model(model: type[BaseModel], body: object, path: str) -> Iterator[str]:
    if not isinstance(body, Mapping):
        return
    accepted: Accepted = getattr(model, "accepted_fields", lambda: fields_of(model))()
    yield from (f"{path}{name}" for name, value in body.items() if value is not None and name not in accepted)
    for name, inner in accepted.items():
        if inner is not None:
            part = body.get(name)
            yield from _in_model(inner, part, f"{path}{name}.")
            for position, item in enumerate(part if isinstance(part, list) else ()):
                yield from _in_model(inner, item, f"{path}{name}[{position}].")


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
