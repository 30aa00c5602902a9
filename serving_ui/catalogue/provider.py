"""The type of a provider's entry in the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import TranslatableText
from serving_ui.catalogue.upstream import Addresses, UpstreamRequest, normalized_url
from serving_ui.catalogue.wire_format import Build, WireFormat

Check = Callable[[Any, str, Task, Addresses], UpstreamRequest | None]
ListModels = Callable[[Any, Addresses], UpstreamRequest | None]


def _no_check(_config: Any, _model: str, _task: Task, _addresses: Addresses) -> UpstreamRequest | None:
    return None


def _no_list(_config: Any, _addresses: Addresses) -> UpstreamRequest | None:
    return None


def _no_other_urls(_config: Any, _addresses: Addresses) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Each provider's file declares one as PROVIDER. Its functions get a `config` that is an instance of the `config` class."""

    name: str
    label: TranslatableText
    config: type[ProviderConfig]
    models: Mapping[Task, tuple[str, ...]]
    """Suggested models by task; the keys are the tasks of the provider."""
    base_url: Callable[[Any, Addresses], str]
    config_key: str = ""
    """The key of the config block in the API; by default the name with `_config` appended."""
    hidden: bool = False
    """Not offered in the create form, but accepted by the API."""
    suggest: Callable[[Task, Mapping[str, Any]], tuple[str, ...]] | None = None
    """Suggested models that depend on other values of the form (by flat name)."""
    other_urls: Callable[[Any, Addresses], tuple[str, ...]] = _no_other_urls
    """Further addresses that a secret goes to, such as a token server."""
    check: Check = _no_check
    """The request that checks the credentials; None if the provider has no such call."""
    check_refused: frozenset[int] = frozenset({401})
    """The statuses of the check that mean wrong credentials. Other errors leave the credentials unverified."""
    list_models: ListModels = _no_list
    """The request that lists the models of the account; None if the provider has no such call."""
    wire_formats: Mapping[Task | None, WireFormat] = field(default_factory=lambda: MappingProxyType({}))
    """The wire format by task; every task of `models` has one. None is the task of own models that answer any JSON."""
    build_responses_request: Build | None = None
    """Builds a request of OpenAI's Responses API, for providers that have it. Its responses pass through unchanged."""

    def __post_init__(self) -> None:
        if not self.config_key:
            object.__setattr__(self, "config_key", self.name.replace("-", "_") + "_config")

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(self.models)

    def suggestions(self, task: Task, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The models to suggest for a task and the values of the form."""
        if self.suggest is not None:
            return self.suggest(task, values)
        return self.models.get(task, ())

    def destinations(self, config: ProviderConfig, addresses: Addresses) -> frozenset[str]:
        """Where and how the config's secrets are sent: URLs, and the values of fields that decide it.

        Two configs send their secrets in the same way if their destinations are equal.
        """
        urls = (self.base_url(config, addresses), *self.other_urls(config, addresses))
        values = config.flat()
        decided = (
            f"{field.name}={values[field.name]}"
            for field in config.fields()
            if field.decides_destination and field.kind not in ("url", "secret") and field.name in values
        )
        return frozenset({*map(normalized_url, urls), *decided})
