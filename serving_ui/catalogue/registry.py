"""The list of providers, in the order of the create form."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from serving_ui.catalogue.provider import Provider

_FILES = (
    "openai",
    "anthropic",
    "cohere",
    "amazon_bedrock",
    "google_cloud_vertex_ai",
    "databricks_model_serving",
    "ai21labs",
    "palm",
    "custom",
    "sandbox",
)


def _load(file: str) -> Provider:
    provider: Provider = import_module(f"serving_ui.catalogue.providers.{file}").PROVIDER
    return provider


PROVIDERS: Mapping[str, Provider] = MappingProxyType({each.name: each for each in map(_load, _FILES)})


CALLED: Mapping[str, Provider] = MappingProxyType({**PROVIDERS, "ray-serve": _load("ray_serve")})
"""The providers that the gateway calls: also the one of own models, which no config can name."""


def get(name: str) -> Provider:
    """The provider of this name, hidden or not. Raises KeyError."""
    return PROVIDERS[name]


def offered() -> list[Provider]:
    """The providers to show in the create form."""
    return [provider for provider in PROVIDERS.values() if not provider.hidden]
