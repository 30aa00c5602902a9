"""Anthropic: Claude models, chat and completions; no embeddings.

Vendor facts as of November 2026, platform.claude.com/docs/en/api: `GET https://api.anthropic.com/v1/models`, `POST …/v1/messages` and
the legacy `POST …/v1/complete`, headers `x-api-key` and `anthropic-version`. A wrong key is answered with 401.
The page Versions has 2026-10-21 and 2023-06-01. We send the older one: the newer refuses `temperature`, `top_p` and `top_k` for every
model, the older only for models that do not support them (Claude 4.7 and later). Their responses are the same.
"""

from __future__ import annotations

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import secret
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.providers.anthropic import chat_request, chat_response, completions
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, UpstreamRequest
from serving_ui.catalogue.wire_format import Json, WireFormat

DEFAULT_BASE = "https://api.anthropic.com"
API_VERSION = "2023-06-01"


class AnthropicConfig(ProviderConfig):
    anthropic_api_key: Secret = secret(_("Anthropic API key"))


_MODELS = {
    Task.CHAT: (
        "claude-3-5-sonnet-latest",
        "claude-3-5-haiku-latest",
        "claude-3-5-opus-latest",
        "claude-3-5-sonnet-20241022",
        "claude-3-5-haiku-20241022",
        "claude-3-5-sonnet-20240620",
        "claude-3-haiku-20240307",
        "claude-3-opus-20240229",
        "claude-3-sonnet-20240229",
    ),
    Task.COMPLETIONS: (
        "claude-2.1",
        "claude-2.0",
        "claude-2",
        "claude-instant-1.2",
        "claude-1.3-100k",
        "claude-1",
    ),
}


def _base_url(_config: AnthropicConfig, addresses: Addresses) -> str:
    return addresses.vendor(DEFAULT_BASE, "anthropic")


def _headers(config: AnthropicConfig) -> upstream.Headers:
    return (upstream.header("x-api-key", config.anthropic_api_key), ("anthropic-version", API_VERSION))


def _check(config: AnthropicConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    return upstream.get(_base_url(config, addresses) + "/v1/models", _headers(config))


def _list_models(config: AnthropicConfig, addresses: Addresses) -> UpstreamRequest:
    return upstream.get(_base_url(config, addresses) + "/v1/models?limit=1000", _headers(config))


def _chat(body: Json, config: AnthropicConfig, model: str, addresses: Addresses) -> UpstreamRequest:
    url = _base_url(config, addresses) + "/v1/messages"
    return upstream.post_json(url, chat_request.messages_body(body, model), _headers(config))


def _complete(body: Json, config: AnthropicConfig, model: str, addresses: Addresses) -> UpstreamRequest:
    path = "/v1/complete" if completions.is_legacy(model) else "/v1/messages"
    url = _base_url(config, addresses) + path
    return upstream.post_json(url, completions.prompt_body(body, model), _headers(config))


PROVIDER = Provider(
    name="anthropic",
    label=_("Anthropic"),
    config=AnthropicConfig,
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
        ),
    },
)
