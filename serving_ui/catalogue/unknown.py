"""Finds the fields of a body that are not known here: accepted, without effect, and reported so that nobody is misled."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import get_args

from pydantic import BaseModel

from serving_ui.catalogue.endpoint_config import COMPUTE_FIELDS
from serving_ui.catalogue.provider_config import Block
from serving_ui.catalogue.registry import PROVIDERS

MAX_REPORTED = 50

_ENDPOINT = {
    "name",
    "description",
    "config",
    "rate_limits",
    "tags",
    "ai_gateway",
    "email_notifications",
    "timeouts",
    "route_optimized",
}
# Clients of the serving API always send the endpoint's name inside the config as well.
_CONFIG = {"name", "served_entities", "traffic_config"}
_ENTITY = {"name", "external_model", *COMPUTE_FIELDS}
_MODEL = {"provider", "name", "task"}
_ROUTE = {"served_entity_name", "served_model_name", "traffic_percentage"}
_RATE_LIMIT = {"calls", "tokens", "key", "principal", "renewal_period"}
_TAG = {"key", "value"}


def in_endpoint(body: object) -> list[str]:
    """Unknown fields of the body that creates an endpoint."""
    return list(islice(_endpoint(body), MAX_REPORTED))


def in_config(body: object) -> list[str]:
    """Unknown fields of the body that updates a config."""
    return list(islice(_config(body, ""), MAX_REPORTED))


def in_model(model: type[BaseModel], body: object) -> list[str]:
    """Unknown fields of a body that is nothing but pydantic fields, some of them models or lists of models."""
    return list(islice(_modelled(model, body, ""), MAX_REPORTED))


def _modelled(model: type[BaseModel], body: object, at: str) -> Iterator[str]:
    yield from _others(body, model.model_fields.keys(), at)
    for name, info in model.model_fields.items():
        inner = next(_models_in(info.annotation), None)
        if inner is not None:
            yield from _modelled(inner, _part(body, name), f"{at}{name}.")
            for item, here in _items(body, name, at):
                yield from _modelled(inner, item, here)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _endpoint(body: object) -> Iterator[str]:
    yield from _others(body, _ENDPOINT, "")
    yield from _config(_part(body, "config"), "config.")
    yield from _list(body, "rate_limits", _RATE_LIMIT, "")
    yield from _list(body, "tags", _TAG, "")


def _config(body: object, at: str) -> Iterator[str]:
    yield from _others(body, _CONFIG, at)
    for entity, here in _items(body, "served_entities", at):
        yield from _others(entity, _ENTITY, here)
        yield from _model(_part(entity, "external_model"), here + "external_model.")
    traffic = _part(body, "traffic_config")
    yield from _others(traffic, {"routes"}, at + "traffic_config.")
    yield from _list(traffic, "routes", _ROUTE, at + "traffic_config.")


def _model(model: object, at: str) -> Iterator[str]:
    blocks = {provider.config_key: provider.config for provider in PROVIDERS.values()}
    yield from _others(model, _MODEL | blocks.keys(), at)
    for key, config in blocks.items():
        yield from _block(_part(model, key), config, f"{at}{key}.")


def _block(block: object, model: type[Block], at: str) -> Iterator[str]:
    known = model.known_names()
    yield from _others(block, known.keys(), at)
    for name, group in known.items():
        if group is not None:
            yield from _block(_part(block, name), group, f"{at}{name}.")


def _others(part: object, known: Collection[str], at: str) -> Iterator[str]:
    if isinstance(part, Mapping):
        yield from (f"{at}{name}" for name, value in part.items() if value is not None and name not in known)


def _list(part: object, name: str, known: set[str], at: str) -> Iterator[str]:
    for item, here in _items(part, name, at):
        yield from _others(item, known, here)


def _items(part: object, name: str, at: str) -> Iterator[tuple[object, str]]:
    items = _part(part, name)
    if isinstance(items, list):
        yield from ((item, f"{at}{name}[{position}].") for position, item in enumerate(items))


def _part(part: object, name: str) -> object:
    return part.get(name) if isinstance(part, Mapping) else None
