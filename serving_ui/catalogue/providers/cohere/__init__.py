"""Cohere: chat, completions and embeddings.

Vendor facts as of November 2026, docs.cohere.com/reference: base https://api.cohere.com (the older api.cohere.ai still answers),
`GET /v1/models`, `POST /v2/chat`, `POST /v2/embed`, all with a bearer token. A wrong key is answered with 401.
`POST /v1/generate` is deprecated (page Deprecations); only legacy models are sent to it, all others to chat.
"""

from __future__ import annotations

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import secret, url
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.providers.cohere import chat_request, chat_response, completions, embeddings
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, UpstreamRequest
from serving_ui.catalogue.wire_format import Framing, Json, WireFormat

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
    # Older documentation has the API's version in the base URL; here it is part of each path.
    return config.cohere_api_base.rstrip("/").removesuffix("/v1").removesuffix("/v2")


def _check(config: CohereConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    return upstream.get(
        _base_url(config, addresses) + "/v1/models", (upstream.bearer(config.cohere_api_key),)
    )


def _list_models(config: CohereConfig, addresses: Addresses) -> UpstreamRequest:
    return upstream.get(
        _base_url(config, addresses) + "/v1/models?page_size=1000",
        (upstream.bearer(config.cohere_api_key),),
    )


def _post(
    config: CohereConfig, addresses: Addresses, path: str, body: Json, *, accept: str = ""
) -> UpstreamRequest:
    headers = (upstream.bearer(config.cohere_api_key),)
    return upstream.post_json(_base_url(config, addresses) + path, body, headers, accept=accept)


def _chat(body: Json, config: CohereConfig, model: str, addresses: Addresses) -> UpstreamRequest:
    return _post(config, addresses, "/v2/chat", chat_request.chat_body(body, model))


def _complete(body: Json, config: CohereConfig, model: str, addresses: Addresses) -> UpstreamRequest:
    if completions.is_legacy(model):
        sent = completions.generate_body(body, model)
        accept = Framing.LINES.value if "stream" in sent else ""
        return _post(config, addresses, "/v1/generate", sent, accept=accept)
    return _post(config, addresses, "/v2/chat", completions.chat_body(body, model))


def _embed(body: Json, config: CohereConfig, model: str, addresses: Addresses) -> UpstreamRequest:
    return _post(config, addresses, "/v2/embed", embeddings.embed_body(body, model))


PROVIDER = Provider(
    name="cohere",
    label=_("Cohere"),
    config=CohereConfig,
    models=_MODELS,
    base_url=_base_url,
    check=_check,
    list_models=_list_models,
    wire_formats={
        Task.CHAT: WireFormat(
            build_request=_chat,
            translate_response=chat_response.translate_message,
            stream_translator=chat_response.MessageStream,
        ),
        Task.COMPLETIONS: WireFormat(
            build_request=_complete,
            translate_response=completions.translate_completion,
            stream_translator=completions.CompletionStream,
            legacy_framing=Framing.LINES,
        ),
        Task.EMBEDDINGS: WireFormat(build_request=_embed, translate_response=embeddings.translate_embeddings),
    },
)
