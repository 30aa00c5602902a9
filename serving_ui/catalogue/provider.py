"""What a provider is: everything that its one file declares, in one value."""

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


def _no_check(_config: Any, _model: str, _task: Task, _addresses: Addresses) -> UpstreamRequest | None:
    return None


def _no_other_urls(_config: Any, _addresses: Addresses) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A provider's file makes exactly one. `config` arguments of the functions are instances of its `config`."""

    name: str
    label: TranslatableText
    config: type[ProviderConfig]
    models: Mapping[Task, tuple[str, ...]]
    """Suggested models; the keys are the tasks that the provider has."""
    base_url: Callable[[Any, Addresses], str]
    config_key: str = ""
    """The API's name of the config block; empty for the name with `_config`."""
    hidden: bool = False
    """Not offered in the dialog, accepted everywhere else."""
    suggest: Callable[[Task, Mapping[str, Any]], tuple[str, ...]] | None = None
    """Suggested models that depend on other answers (flat values)."""
    other_urls: Callable[[Any, Addresses], tuple[str, ...]] = _no_other_urls
    """Further addresses that a secret goes to, such as a token server."""
    check: Check = _no_check
    """The request that proves the credentials; None when the provider has no such call."""
    check_refused: frozenset[int] = frozenset({401})
    """The statuses by which the check says that the credentials are wrong, and not merely that it cannot tell."""
    wire_formats: Mapping[Task, WireFormat] = field(default_factory=lambda: MappingProxyType({}))
    """What is sent and what comes back, by task; every task of `models` has one."""
    build_responses_request: Build | None = None
    """The request of OpenAI's Responses API, for providers that speak it; its answers pass through as they are."""

    def __post_init__(self) -> None:
        if not self.config_key:
            object.__setattr__(self, "config_key", self.name.replace("-", "_") + "_config")

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(self.models)

    def suggestions(self, task: Task, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The models to suggest for a task and the answers given so far."""
        if self.suggest is not None:
            return self.suggest(task, values)
        return self.models.get(task, ())

    def destinations(self, config: ProviderConfig, addresses: Addresses) -> frozenset[str]:
        """Where and how the config's secrets are sent: whole addresses, and each answer that decides it.

        Two configs send their secrets alike if these are equal.
        """
        urls = (self.base_url(config, addresses), *self.other_urls(config, addresses))
        answers = config.flat()
        decided = (
            f"{field.name}={answers[field.name]}"
            for field in config.fields()
            if field.decides_destination and field.kind not in ("url", "secret") and field.name in answers
        )
        return frozenset({*map(normalized_url, urls), *decided})
