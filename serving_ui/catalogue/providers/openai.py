"""OpenAI, Azure OpenAI with a key, and Azure OpenAI with Microsoft Entra ID: one provider, three API types.

Vendor facts as of November 2026. OpenAI: platform.openai.com/docs/api-reference. Azure: learn.microsoft.com/rest/api/azureopenai
(`{endpoint}/openai/deployments/{deployment}/…`, `GET {endpoint}/openai/models`, header `api-key`; Entra tokens have the scope
https://cognitiveservices.azure.com/.default; `POST {endpoint}/openai/v1/responses`, see "Use the Azure OpenAI Responses API"). Any OpenAI-compatible host
works through the API base. A stream contains the usage only if `stream_options` requests it, which OpenAI supports, and Azure since
version 2024-09-01-preview.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import choice, secret, text, url
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, ClientCredentials, UpstreamRequest
from serving_ui.catalogue.wire_format import Build, Json, WireFormat

DEFAULT_BASE = "https://api.openai.com/v1"
LOGIN = "https://login.microsoftonline.com"
STREAM_USAGE_SINCE = "2024-09-01"
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"

_AZURE = {"openai_api_type": ("azure", "azuread")}
_ENTRA = {"openai_api_type": ("azuread",)}
_WITH_KEY = {"openai_api_type": ("openai", "azure")}


class OpenAIConfig(ProviderConfig):
    openai_api_type: str = choice(
        _("OpenAI API type"),
        choices={
            "openai": _("OpenAI"),
            "azure": _("Azure OpenAI"),
            "azuread": _("Azure OpenAI with Microsoft Entra ID"),
        },
        default="openai",
        required=False,
        help=_("Choose OpenAI also for any other server that has the OpenAI API."),
    )
    openai_api_key: Secret | None = secret(_("OpenAI API key"), shown_when=_WITH_KEY)
    microsoft_entra_tenant_id: str | None = text(
        _("Microsoft Entra tenant ID"),
        shown_when=_ENTRA,
        pattern=r"[A-Za-z0-9][A-Za-z0-9.-]*",
        placeholder="72f988bf-86f1-41af-91ab-2d7cd011db47",
    )
    microsoft_entra_client_id: str | None = text(_("Microsoft Entra client ID"), shown_when=_ENTRA)
    microsoft_entra_client_secret: Secret | None = secret(
        _("Microsoft Entra client secret"), shown_when=_ENTRA
    )
    openai_api_base: str | None = url(
        _("OpenAI API base"),
        required=False,
        required_when=_AZURE,
        help=_(
            "Where requests go. For OpenAI, leave it empty for https://api.openai.com/v1, or give another "
            "OpenAI-compatible address. For Azure, the address of the resource, such as "
            "https://my-resource.openai.azure.com."
        ),
    )
    openai_deployment_name: str | None = text(
        _("OpenAI deployment name"),
        shown_when=_AZURE,
        decides_destination=False,
        help=_("The name of the deployment in the Azure resource."),
    )
    openai_api_version: str | None = text(
        _("OpenAI API version"),
        shown_when=_AZURE,
        decides_destination=False,
        pattern=r"\d{4}-\d{2}-\d{2}(-[a-z0-9]+)*",
        placeholder="2024-10-21",
        help=_("The version of the Azure OpenAI API, a date."),
    )
    openai_organization: str | None = text(
        _("OpenAI organization"),
        required=False,
        shown_when=_WITH_KEY,
        decides_destination=False,
        pattern=r"[\x21-\x7e]+",
        placeholder="org-a1b2c3",
        help=_("Only needed when the key belongs to several organizations."),
    )


_MODELS = {
    Task.CHAT: (
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4o-2024-05-13",
        "gpt-4-turbo",
        "gpt-4-turbo-2024-04",
        "gpt-4",
        "gpt-3.5-turbo",
        "o1",
        "o1-mini",
        "o1-mini-2024-09-12",
    ),
    Task.COMPLETIONS: ("gpt-3.5-turbo-instruct", "babbage-002", "davinci-002"),
    Task.EMBEDDINGS: ("text-embedding-3-large", "text-embedding-3-small", "text-embedding-ada-002"),
}
_AZURE_MODELS = {
    Task.CHAT: (
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4-turbo",
        "gpt-4",
        "gpt-4-32k",
        "gpt-35-turbo",
        "gpt-35-turbo-16k",
        "o1",
        "o1-mini",
    ),
    Task.COMPLETIONS: ("gpt-35-turbo-instruct", "text-davinci-003"),
    Task.EMBEDDINGS: _MODELS[Task.EMBEDDINGS],
}


def _suggest(task: Task, values: Mapping[str, Any]) -> tuple[str, ...]:
    azure = values.get("openai_api_type") in _AZURE["openai_api_type"]
    return (_AZURE_MODELS if azure else _MODELS).get(task, ())


def _is_azure(config: OpenAIConfig) -> bool:
    return config.openai_api_type in _AZURE["openai_api_type"]


def _base_url(config: OpenAIConfig, addresses: Addresses) -> str:
    if config.openai_api_base is None:
        return addresses.vendor(DEFAULT_BASE, "openai")
    return config.openai_api_base.rstrip("/")


def _token_url(config: OpenAIConfig, addresses: Addresses) -> str:
    tenant = upstream.path_segment(config.microsoft_entra_tenant_id or "")
    return addresses.vendor(f"{LOGIN}/{tenant}/oauth2/v2.0/token", "microsoft-entra")


def _other_urls(config: OpenAIConfig, addresses: Addresses) -> tuple[str, ...]:
    return (_token_url(config, addresses),) if config.openai_api_type == "azuread" else ()


def _auth(config: OpenAIConfig, addresses: Addresses) -> ClientCredentials | None:
    if config.openai_api_type != "azuread" or config.microsoft_entra_client_secret is None:
        return None
    return ClientCredentials(
        token_url=_token_url(config, addresses),
        client_id=config.microsoft_entra_client_id or "",
        client_secret=config.microsoft_entra_client_secret,
        scope=ENTRA_SCOPE,
    )


def _headers(config: OpenAIConfig) -> upstream.Headers:
    kind, key = config.openai_api_type, config.openai_api_key
    if kind == "azuread":
        return ()
    headers = upstream.header("api-key", key) if kind == "azure" else upstream.bearer(key)
    if config.openai_organization:
        return (headers, ("OpenAI-Organization", config.openai_organization))
    return (headers,)


def _azure_base(config: OpenAIConfig, addresses: Addresses) -> str:
    """The URL of the resource. The Azure portal shows it with and without the suffix /openai or /openai/v1."""
    return _base_url(config, addresses).removesuffix("/openai/v1").removesuffix("/openai")


def _azure_url(config: OpenAIConfig, addresses: Addresses, path: str) -> str:
    base = _azure_base(config, addresses)
    return f"{base}/openai{path}?api-version={upstream.path_segment(config.openai_api_version or '')}"


def _check(config: OpenAIConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    if _is_azure(config):
        address = _azure_url(config, addresses, "/models")
    else:
        address = _base_url(config, addresses) + "/models"
    return upstream.get(address, _headers(config), auth=_auth(config, addresses))


def _list_models(config: OpenAIConfig, addresses: Addresses) -> UpstreamRequest | None:
    """None for Azure, whose list has the models that can be deployed, not the deployments."""
    return None if _is_azure(config) else _check(config, "", Task.CHAT, addresses)


def _supports_stream_usage(config: OpenAIConfig) -> bool:
    """Whether the host supports `stream_options`. Other hosts behind the API base may refuse the unknown field."""
    if _is_azure(config):
        return (config.openai_api_version or "") >= STREAM_USAGE_SINCE
    return config.openai_api_base is None


def _body(body: Json, config: OpenAIConfig, *, model: str | None) -> Json:
    sent = upstream.openai_body(body, model=model)
    if sent.get("stream") is True and _supports_stream_usage(config):
        options = sent.get("stream_options") or {}
        if isinstance(options, dict):
            sent["stream_options"] = {**options, "include_usage": True}
    return sent


def _builder(path: str) -> Build:
    def build(
        body: dict[str, Any], config: OpenAIConfig, model: str, addresses: Addresses
    ) -> UpstreamRequest:
        if not _is_azure(config):
            sent = _body(body, config, model=model)
            return upstream.post_json(_base_url(config, addresses) + path, sent, _headers(config))
        deployment = upstream.path_segment(config.openai_deployment_name or "")
        address = _azure_url(config, addresses, f"/deployments/{deployment}{path}")
        sent = _body(body, config, model=None)
        return upstream.post_json(address, sent, _headers(config), auth=_auth(config, addresses))

    return build


def _responses(
    body: dict[str, Any], config: OpenAIConfig, model: str, addresses: Addresses
) -> UpstreamRequest:
    """The Responses API. Azure has it only under its v1 path, without `api-version` and with the deployment as the model."""
    base = _base_url(config, addresses)
    if _is_azure(config):
        base = _azure_base(config, addresses) + "/openai/v1"
    sent = upstream.openai_body(
        body, model=(config.openai_deployment_name if _is_azure(config) else None) or model
    )
    return upstream.post_json(f"{base}/responses", sent, _headers(config), auth=_auth(config, addresses))


PROVIDER = Provider(
    name="openai",
    label=_("OpenAI"),
    config=OpenAIConfig,
    models=_MODELS,
    suggest=_suggest,
    base_url=_base_url,
    other_urls=_other_urls,
    check=_check,
    list_models=_list_models,
    wire_formats={
        task: WireFormat(build_request=_builder(path)) for task, path in upstream.OPENAI_PATHS.items()
    },
    build_responses_request=_responses,
)
