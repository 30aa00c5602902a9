"""The built-in sandbox: canned responses without a model or a key. The built-in endpoints use it.

Hidden in the create form. Its OpenAI-compatible API is at `/sandbox/v1` of this server.
"""

from __future__ import annotations

from typing import Any

from serving_ui.catalogue import upstream
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, UpstreamRequest
from serving_ui.catalogue.wire_format import Build, WireFormat

DEFAULT_BASE = "http://127.0.0.1:8080/sandbox/v1"


class SandboxConfig(ProviderConfig):
    """Nothing to configure."""


def _base_url(_config: SandboxConfig, addresses: Addresses) -> str:
    return addresses.vendor(DEFAULT_BASE, "sandbox")


def _check(config: SandboxConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    return upstream.get(_base_url(config, addresses) + "/models")


def _list_models(config: SandboxConfig, addresses: Addresses) -> UpstreamRequest:
    return _check(config, "", Task.CHAT, addresses)


def _builder(path: str) -> Build:
    def build(
        body: dict[str, Any], config: SandboxConfig, model: str, addresses: Addresses
    ) -> UpstreamRequest:
        return upstream.post_json(
            _base_url(config, addresses) + path, upstream.openai_body(body, model=model)
        )

    return build


PROVIDER = Provider(
    name="sandbox",
    label=_("Sandbox"),
    config=SandboxConfig,
    models={
        Task.CHAT: ("sandbox-chat",),
        Task.COMPLETIONS: ("sandbox-completions",),
        Task.EMBEDDINGS: ("sandbox-embeddings",),
    },
    base_url=_base_url,
    check=_check,
    list_models=_list_models,
    wire_formats={
        task: WireFormat(build_request=_builder(path)) for task, path in upstream.OPENAI_PATHS.items()
    },
    hidden=True,
)
