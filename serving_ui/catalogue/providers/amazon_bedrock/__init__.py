"""Amazon Bedrock: models of several makers in an AWS region, with access keys, an instance profile or a service credential.

Vendor facts as of November 2026, docs.aws.amazon.com: runtime at https://bedrock-runtime.{region}.amazonaws.com, Signature V4 for the
service `bedrock`, POST /model/{id}/converse, /converse-stream, /invoke. An id is the maker's name, a dot and the model ("Supported
foundation models"), with a region's group before it for an inference profile (us.anthropic.…), or an ARN.
STS GetCallerIdentity needs no permission, so that its 403 means wrong keys. Hosts of regions in China end with .com.cn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import choice, form_choice, secret, text
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.providers.amazon_bedrock import converse_request, converse_response, embeddings
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import (
    Addresses,
    AwsInstanceProfile,
    AwsSigV4,
    SecretUnusable,
    UpstreamRequest,
)
from serving_ui.catalogue.wire_format import Build, Framing, Json, WireFormat

_KEYS = {"credentials": ("access_keys",)}


class AmazonBedrockConfig(ProviderConfig):
    form_choices = (
        form_choice(
            "credentials",
            _("Credentials"),
            choices={
                "access_keys": _("Access keys"),
                "instance_profile": _("Instance profile"),
                "service_credential": _("Service credential"),
            },
        ),
    )

    aws_region: str = text(
        _("AWS region"),
        pattern=r"[a-z]{2}(-[a-z]+)+-\d{1,2}",
        placeholder="us-east-1",
        help=_("Amazon Bedrock has to be enabled in this region."),
    )
    bedrock_provider: str = choice(
        _("Bedrock provider"),
        choices={
            "anthropic": _("Anthropic"),
            "cohere": _("Cohere"),
            "ai21labs": _("AI21 Labs"),
            "amazon": _("Amazon"),
            "grok": _("Grok"),
        },
        any_case=True,
        decides_destination=False,
        help=_("Who made the model."),
    )
    aws_access_key_id: Secret | None = secret(_("AWS access key ID"), shown_when=_KEYS)
    aws_secret_access_key: Secret | None = secret(_("AWS secret access key"), shown_when=_KEYS)
    instance_profile_arn: str | None = text(
        _("Instance profile ARN"),
        pattern=r"arn:aws[a-z-]*:iam::\d{12}:instance-profile/[\w+=,.@/-]+",
        placeholder="arn:aws:iam::123456789012:instance-profile/bedrock",
        help=_("The gateway must run on an EC2 instance that has this profile."),
        shown_when={"credentials": ("instance_profile",)},
    )
    uc_service_credential_name: str | None = text(
        _("Service credential name"), shown_when={"credentials": ("service_credential",)}
    )


_MODELS_BY_MAKER: Mapping[str, Mapping[Task, tuple[str, ...]]] = {
    "anthropic": {
        Task.CHAT: (
            "claude-3-5-sonnet-20241022-v2:0",
            "claude-3-5-haiku-20241022-v1:0",
            "claude-3-opus-20240229-v1:0",
            "claude-3-sonnet-20240229-v1:0",
            "claude-3-5-sonnet-20240620-v1:0",
        ),
        Task.COMPLETIONS: ("claude-instant-v1", "claude-v2"),
    },
    "cohere": {
        Task.CHAT: ("command-r-plus-v1:0", "command-r-v1:0"),
        Task.COMPLETIONS: ("command-text-v14", "command-light-text-v14"),
        Task.EMBEDDINGS: ("embed-english-v3", "embed-multilingual-v3"),
    },
    "ai21labs": {
        Task.COMPLETIONS: (
            "j2-grande-instruct",
            "j2-jumbo-instruct",
            "j2-mid",
            "j2-mid-v1",
            "j2-ultra",
            "j2-ultra-v1",
        ),
    },
    "amazon": {
        Task.CHAT: ("nova-lite-v1:0", "nova-micro-v1:0", "nova-pro-v1:0"),
        Task.EMBEDDINGS: ("titan-embed-text-v2:0", "titan-embed-g1-text-02", "titan-embed-text-v1"),
    },
    "grok": {},
}


def _all_makers(task: Task) -> tuple[str, ...]:
    return tuple(model for models in _MODELS_BY_MAKER.values() for model in models.get(task, ()))


def _suggest(task: Task, values: Mapping[str, Any]) -> tuple[str, ...]:
    models = _MODELS_BY_MAKER.get(str(values.get("bedrock_provider")))
    return _all_makers(task) if models is None else models.get(task, ())


def _host(service: str, config: AmazonBedrockConfig, addresses: Addresses) -> str:
    domain = "amazonaws.com.cn" if config.aws_region.startswith("cn-") else "amazonaws.com"
    return addresses.vendor(f"https://{service}.{config.aws_region}.{domain}", "amazon-bedrock")


def _base_url(config: AmazonBedrockConfig, addresses: Addresses) -> str:
    return _host("bedrock-runtime", config, addresses)


def _other_urls(config: AmazonBedrockConfig, addresses: Addresses) -> tuple[str, ...]:
    return (_host("sts", config, addresses),)


_REGION_GROUP_PREFIX = r"(?:[a-z]{2,6}(?:-[a-z]+)?\.)?"
_WHOLE_ID = re.compile(rf"arn:|{_REGION_GROUP_PREFIX}[a-z0-9]+\.")
_MAKER_IN_IDS = {"ai21labs": "ai21", "grok": "xai"}
"""The makers' names in model ids, where they differ from those in the config."""


def model_id(model: str, maker: str) -> str:
    """Bedrock's id of the model: prepends the maker, which the suggested models lack. Other ids, of profiles, and ARNs are unchanged."""
    return model if _WHOLE_ID.match(model) else f"{_MAKER_IN_IDS.get(maker, maker)}.{model}"


def _auth(config: AmazonBedrockConfig, service: str) -> AwsSigV4 | AwsInstanceProfile:
    """The credentials to sign with. Raises SecretUnusable."""
    if config.uc_service_credential_name is not None:
        raise SecretUnusable(
            _(
                "A service credential belongs to a Databricks workspace and cannot be used from here. "
                "The person who manages the endpoint must give access keys or an instance profile."
            )
        )
    if config.instance_profile_arn is not None:
        return AwsInstanceProfile(service, config.aws_region, config.instance_profile_arn)
    key_id, key = (
        Secret.from_plaintext(upstream.header_value(each))
        for each in (config.aws_access_key_id, config.aws_secret_access_key)
    )
    return AwsSigV4(service=service, region=config.aws_region, access_key_id=key_id, secret_access_key=key)


def _check(config: AmazonBedrockConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    return UpstreamRequest(
        method="POST",
        url=_host("sts", config, addresses) + "/",
        headers=(
            ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("Accept", "application/json"),
        ),
        body=b"Action=GetCallerIdentity&Version=2011-06-15",
        auth=_auth(config, "sts"),
    )


def _post(
    config: AmazonBedrockConfig, model: str, addresses: Addresses, action: str, sent: Json
) -> UpstreamRequest:
    identifier = upstream.path_segment(model_id(model, config.bedrock_provider))
    address = f"{_base_url(config, addresses)}/model/{identifier}/{action}"
    accept = Framing.AWS if action.endswith("stream") else "application/json"
    return upstream.post_json(address, sent, auth=_auth(config, "bedrock"), accept=accept)


def _converse(sent: Callable[[Json, str], Json]) -> Build:
    def build(body: Json, config: AmazonBedrockConfig, model: str, addresses: Addresses) -> UpstreamRequest:
        action = "converse-stream" if body.get("stream") else "converse"
        return _post(config, model, addresses, action, sent(body, config.bedrock_provider))

    return build


def _embed(body: Json, config: AmazonBedrockConfig, model: str, addresses: Addresses) -> UpstreamRequest:
    sent = embeddings.embed_body(body, maker=config.bedrock_provider)
    return _post(config, model, addresses, "invoke", sent)


PROVIDER = Provider(
    name="amazon-bedrock",
    label=_("Amazon Bedrock"),
    config=AmazonBedrockConfig,
    models={task: _all_makers(task) for task in Task},
    suggest=_suggest,
    base_url=_base_url,
    other_urls=_other_urls,
    check=_check,
    check_refused=frozenset({401, 403}),
    wire_formats={
        Task.CHAT: WireFormat(
            build_request=_converse(converse_request.chat_body),
            translate_response=converse_response.translate_chat,
            stream_translator=converse_response.ChatStream,
            framing=Framing.AWS,
        ),
        Task.COMPLETIONS: WireFormat(
            build_request=_converse(converse_request.completion_body),
            translate_response=converse_response.translate_completion,
            stream_translator=converse_response.CompletionStream,
            framing=Framing.AWS,
        ),
        Task.EMBEDDINGS: WireFormat(build_request=_embed, translate_response=embeddings.translate_embeddings),
    },
)
