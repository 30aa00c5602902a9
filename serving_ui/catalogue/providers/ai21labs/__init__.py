"""AI21 Labs: chat with Jamba, completions with Jamba and the older Jurassic models.

Vendor facts as of November 2026, docs.ai21.com/reference: base https://api.ai21.com/studio/v1, bearer token, `POST /chat/completions`
and, for Jurassic, `POST /{model}/complete`. There is no call that lists models; the credential check lists the files of the library, which
needs a valid key.
"""

from __future__ import annotations

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import secret
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.providers.ai21labs import completions, jamba
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, UpstreamRequest
from serving_ui.catalogue.wire_format import Json, WireFormat

DEFAULT_BASE = "https://api.ai21.com/studio/v1"


class Ai21LabsConfig(ProviderConfig):
    ai21labs_api_key: Secret = secret(_("AI21 Labs API key"))


def _base_url(_config: Ai21LabsConfig, addresses: Addresses) -> str:
    return addresses.vendor(DEFAULT_BASE, "ai21labs")


def _check(config: Ai21LabsConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    address = _base_url(config, addresses) + "/library/files?limit=1"
    return upstream.get(address, (upstream.bearer(config.ai21labs_api_key),))


def _chat(body: Json, config: Ai21LabsConfig, model: str, addresses: Addresses) -> UpstreamRequest:
    address = _base_url(config, addresses) + "/chat/completions"
    return upstream.post_json(
        address, jamba.chat_body(body, model), (upstream.bearer(config.ai21labs_api_key),)
    )


def _complete(body: Json, config: Ai21LabsConfig, model: str, addresses: Addresses) -> UpstreamRequest:
    headers = (upstream.bearer(config.ai21labs_api_key),)
    if completions.is_jurassic(model):
        address = f"{_base_url(config, addresses)}/{upstream.path_segment(model)}/complete"
        return upstream.post_json(address, completions.complete_body(body), headers)
    address = _base_url(config, addresses) + "/chat/completions"
    return upstream.post_json(address, completions.chat_body(body, model), headers)


PROVIDER = Provider(
    name="ai21labs",
    label=_("AI21 Labs"),
    config=Ai21LabsConfig,
    models={
        Task.CHAT: ("jamba-large", "jamba-mini"),
        Task.COMPLETIONS: ("j2-mid", "j2-light", "j2-ultra"),
    },
    base_url=_base_url,
    check=_check,
    wire_formats={
        Task.COMPLETIONS: WireFormat(
            build_request=_complete,
            translate_response=completions.translate_completion,
            stream_translator=completions.CompletionStream,
        ),
        Task.CHAT: WireFormat(
            build_request=_chat, translate_response=jamba.translate_chat, stream_translator=jamba.ChatStream
        ),
    },
)
