"""Cohere: chat, completions and embeddings.

Vendor facts as of November 2026, docs.cohere.com/reference: base https://api.cohere.com (the older api.cohere.ai still answers),
`GET /v1/models` with a bearer token. A wrong key is answered with 401.
"""

from __future__ import annotations

from serving_ui.catalogue import wire
from serving_ui.catalogue.config import ProviderConfig
from serving_ui.catalogue.fields import secret, url
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.text import _
from serving_ui.catalogue.wire import Addresses, UpstreamRequest

DEFAULT_BASE = "https://api.cohere.com"


class CohereConfig(ProviderConfig):
    cohere_api_key: Secret = secret(_("Cohere API key"))
    cohere_api_base: str | None = url(
        _("Cohere API base"),
        required=False,
        placeholder=DEFAULT_BASE,
        help=_("Leave it empty for https://api.cohere.com."),
    )


_MODELS = {
    Task.CHAT: (
        "command-r7b-12-2024",
        "command-r-plus-08-2024",
        "command-r-08-2024",
        "command-r-plus",
        "command-r",
        "command",
        "command-light",
        "command-nightly",
        "command-light-nightly",
    ),
    Task.COMPLETIONS: ("command", "command-light"),
    Task.EMBEDDINGS: (
        "embed-english-v3.0",
        "embed-english-light-v3.0",
        "embed-multilingual-v3.0",
        "embed-multilingual-light-v3.0",
        "embed-english-v2.0",
        "embed-english-light-v2.0",
        "embed-multilingual-v2.0",
    ),
}


def _base_url(config: CohereConfig, addresses: Addresses) -> str:
    if config.cohere_api_base is None:
        return addresses.vendor(DEFAULT_BASE, "cohere")
    # Older instructions have the API's version in the base; here it is part of each path.
    return config.cohere_api_base.rstrip("/").removesuffix("/v1").removesuffix("/v2")


def _check(config: CohereConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    return wire.get(_base_url(config, addresses) + "/v1/models", (wire.bearer(config.cohere_api_key),))


PROVIDER = Provider(
    name="cohere",
    label=_("Cohere"),
    config=CohereConfig,
    models=_MODELS,
    base_url=_base_url,
    check=_check,
)
