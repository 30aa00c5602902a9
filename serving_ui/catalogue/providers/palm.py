"""PaLM: retired by Google, but still a provider of the serving API. Hidden in the create form; every query is refused.

Vendor facts as of November 2026, ai.google.dev, "PaLM API deprecation": switched off on 15 August 2024. "Models": `GET
https://generativelanguage.googleapis.com/v1beta/models` with the header `x-goog-api-key` still checks the key; a wrong
key is answered with 400 (API_KEY_INVALID).
"""

from __future__ import annotations

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import secret
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, UnsupportedRequest, UpstreamRequest
from serving_ui.catalogue.wire_format import Json, WireFormat

DEFAULT_BASE = "https://generativelanguage.googleapis.com"


class PalmConfig(ProviderConfig):
    palm_api_key: Secret = secret(_("PaLM API key"))


def _base_url(_config: PalmConfig, addresses: Addresses) -> str:
    return addresses.vendor(DEFAULT_BASE, "palm")


def _refuse(_body: Json, _config: PalmConfig, model: str, _addresses: Addresses) -> UpstreamRequest:
    sentence = _(
        "Google switched off the PaLM API on 15 August 2024, and %(model)s with it. "
        "Use an endpoint of the provider Google Cloud Vertex AI with a Gemini model instead."
    )
    raise UnsupportedRequest(sentence.fill(model=model))


def _check(config: PalmConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    address = _base_url(config, addresses) + "/v1beta/models?pageSize=1"
    return upstream.get(address, (upstream.header("x-goog-api-key", config.palm_api_key),))


PROVIDER = Provider(
    name="palm",
    label=_("PaLM"),
    config=PalmConfig,
    models={
        Task.CHAT: ("chat-bison-001",),
        Task.COMPLETIONS: ("text-bison-001",),
        Task.EMBEDDINGS: ("embedding-gecko-001",),
    },
    base_url=_base_url,
    check=_check,
    check_refused=frozenset({400, 401}),
    hidden=True,
    wire_formats=dict.fromkeys(Task, WireFormat(build_request=_refuse)),
)
