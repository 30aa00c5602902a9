"""Custom provider: any host with an OpenAI-compatible API, with a bearer token, an API key in a custom header, or no authentication.

The URL is a base such as http://localhost:11434/v1, or the full URL of one operation, which Databricks expects in this field.
"""

from __future__ import annotations

from typing import Any

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import block, form_choice, secret, text, url
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import Block, ProviderConfig
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, UpstreamRequest
from serving_ui.catalogue.wire_format import Build, WireFormat

# Headers that the HTTP client sets; a secret in one of them would break the request.
_HEADER_NAME = (
    r"(?i)(?!(?:host|connection|content-length|content-type|content-encoding|transfer-encoding|te|trailer|upgrade|expect)$)"
    r"[!#$%&'*+.^_`|~0-9a-z-]+"
)


class BearerTokenAuth(Block):
    token: Secret = secret(_("Bearer token"))


class ApiKeyAuth(Block):
    key: str = text(
        _("API key name"),
        pattern=_HEADER_NAME,
        placeholder="X-API-Key",
        max_length=128,
        help=_("The name of the header that the key is sent in."),
    )
    value: Secret = secret(_("API key value"))


class CustomProviderConfig(ProviderConfig):
    form_choices = (
        form_choice(
            "authentication",
            _("Authentication"),
            choices={"none": _("None"), "bearer_token": _("Bearer token"), "api_key": _("API key")},
        ),
    )

    custom_provider_url: str = url(
        _("Custom provider URL"),
        placeholder="https://models.example.com/v1",
        help=_(
            "The base address of a server that has the OpenAI API. /chat/completions, /completions or /embeddings "
            "is added for the task, unless the address already ends with it."
        ),
    )
    bearer_token_auth: BearerTokenAuth | None = block(
        BearerTokenAuth, _("Bearer token"), shown_when={"authentication": ("bearer_token",)}
    )
    api_key_auth: ApiKeyAuth | None = block(
        ApiKeyAuth, _("API key"), shown_when={"authentication": ("api_key",)}
    )


def _base_url(config: CustomProviderConfig, _addresses: Addresses) -> str:
    address = config.custom_provider_url.rstrip("/")
    # /chat/completions must come before /completions, which is a suffix of it.
    endings = (*upstream.OPENAI_PATHS.values(), "/responses")
    ending = next((path for path in endings if address.endswith(path)), "")
    return address.removesuffix(ending)


def _headers(config: CustomProviderConfig) -> upstream.Headers:
    if config.bearer_token_auth is not None:
        return (upstream.bearer(config.bearer_token_auth.token),)
    if config.api_key_auth is not None:
        return (upstream.header(config.api_key_auth.key, config.api_key_auth.value),)
    return ()


def _check(config: CustomProviderConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    return upstream.get(_base_url(config, addresses) + "/models", _headers(config))


def _list_models(config: CustomProviderConfig, addresses: Addresses) -> UpstreamRequest:
    return _check(config, "", Task.CHAT, addresses)


def _builder(path: str) -> Build:
    def build(
        body: dict[str, Any], config: CustomProviderConfig, model: str, addresses: Addresses
    ) -> UpstreamRequest:
        sent = upstream.openai_body(body, model=model)
        return upstream.post_json(_base_url(config, addresses) + path, sent, _headers(config))

    return build


def _responses(
    body: dict[str, Any], config: CustomProviderConfig, model: str, addresses: Addresses
) -> UpstreamRequest:
    address = _base_url(config, addresses) + "/responses"
    return upstream.post_json(address, upstream.openai_body(body, model=model), _headers(config))


PROVIDER = Provider(
    name="custom",
    label=_("Custom provider"),
    config_key="custom_provider_config",
    config=CustomProviderConfig,
    models={Task.CHAT: (), Task.COMPLETIONS: (), Task.EMBEDDINGS: ()},
    base_url=_base_url,
    check=_check,
    list_models=_list_models,
    wire_formats={
        task: WireFormat(build_request=_builder(path)) for task, path in upstream.OPENAI_PATHS.items()
    },
    build_responses_request=_responses,
)
