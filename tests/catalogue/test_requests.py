"""The upstream requests of each provider for a query and for a credential check."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving_ui.catalogue import registry
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import (
    Addresses,
    AwsInstanceProfile,
    AwsSigV4,
    ClientCredentials,
    GoogleServiceAccount,
    SecretUnusable,
    UpstreamRequest,
)
from tests.catalogue.samples import resolved

KEY = Secret.from_plaintext("key-1")
JSON = (("Content-Type", "application/json"), ("Accept", "application/json"))
BEARER = ("Authorization", "Bearer key-1")
ACCEPT = ("Accept", "application/json")
REFERENCE = "{{secrets/a/b}}"

OPENAI = {"openai_api_key": REFERENCE}
AZURE = {
    "openai_api_base": "https://my.openai.azure.com/",
    "openai_api_version": "2024-10-21",
    "openai_deployment_name": "my deployment",
}
WITH_KEY = AZURE | {"openai_api_type": "azure", "openai_api_key": REFERENCE}
WITH_ENTRA = AZURE | {
    "openai_api_type": "azuread",
    "microsoft_entra_tenant_id": "contoso.example",
    "microsoft_entra_client_id": "client-1",
    "microsoft_entra_client_secret": REFERENCE,
}
ENTRA = ClientCredentials(
    token_url="https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token",
    client_id="client-1",
    client_secret=KEY,
    scope="https://cognitiveservices.azure.com/.default",
)
DATABRICKS = {
    "databricks_workspace_url": "https://w.cloud.databricks.com/",
    "databricks_api_token": REFERENCE,
}
CUSTOM = {"custom_provider_url": "http://localhost:8000/v1"}
BEDROCK = {"aws_region": "us-east-1", "bedrock_provider": "AnthropiC"}
ACCESS_KEYS = {"aws_access_key_id": REFERENCE, "aws_secret_access_key": REFERENCE}
VERTEX = {"project_id": "my-project", "region": "us-central1", "private_key": REFERENCE}


def sent(
    provider: str,
    block: dict[str, Any],
    body: dict[str, Any],
    *,
    task: Task = Task.CHAT,
    model: str = "m 1",
    addresses: Addresses | None = None,
) -> UpstreamRequest:
    described = registry.get(provider)
    config = resolved(described.config.model_validate(block), "key-1")
    return described.wire_formats[task].build_request(body, config, model, addresses or Addresses())


def checked(
    provider: str, block: dict[str, Any], addresses: Addresses | None = None
) -> UpstreamRequest | None:
    described = registry.get(provider)
    config = resolved(described.config.model_validate(block), "key-1")
    return described.check(config, "m 1", described.tasks[0], addresses or Addresses())


CHAT = {"model": "endpoint", "messages": [{"role": "user", "content": "hi"}], "client_request_id": "1"}
TAKEN = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("provider", "block", "url", "headers", "body", "auth"),
    [
        (
            "openai",
            OPENAI,
            "https://api.openai.com/v1/chat/completions",
            (BEARER,),
            {"model": "m 1"} | TAKEN,
            None,
        ),
        (
            "openai",
            OPENAI | {"openai_api_base": "http://host:1/v1/", "openai_organization": "org-1"},
            "http://host:1/v1/chat/completions",
            (BEARER, ("OpenAI-Organization", "org-1")),
            {"model": "m 1"} | TAKEN,
            None,
        ),
        (
            "openai",
            WITH_KEY,
            "https://my.openai.azure.com/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21",
            (("api-key", "key-1"),),
            TAKEN,
            None,
        ),
        (
            "openai",
            WITH_ENTRA | {"openai_api_base": "https://my.openai.azure.com/openai"},
            "https://my.openai.azure.com/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21",
            (),
            TAKEN,
            ENTRA,
        ),
        (
            "openai",
            WITH_ENTRA | {"openai_api_base": "https://my.openai.azure.com/openai/v1/"},
            "https://my.openai.azure.com/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21",
            (),
            TAKEN,
            ENTRA,
        ),
        (
            "databricks-model-serving",
            DATABRICKS,
            "https://w.cloud.databricks.com/serving-endpoints/m%201/invocations",
            (BEARER,),
            TAKEN,
            None,
        ),
        ("custom", CUSTOM, "http://localhost:8000/v1/chat/completions", (), {"model": "m 1"} | TAKEN, None),
        (
            "custom",
            CUSTOM | {"bearer_token_auth": {"token": REFERENCE}},
            "http://localhost:8000/v1/chat/completions",
            (BEARER,),
            {"model": "m 1"} | TAKEN,
            None,
        ),
        (
            "custom",
            CUSTOM | {"api_key_auth": {"key": "X-Key", "value": REFERENCE}},
            "http://localhost:8000/v1/chat/completions",
            (("X-Key", "key-1"),),
            {"model": "m 1"} | TAKEN,
            None,
        ),
        (
            "sandbox",
            {},
            "http://127.0.0.1:8080/sandbox/v1/chat/completions",
            (),
            {"model": "m 1"} | TAKEN,
            None,
        ),
    ],
    ids=[
        "openai",
        "base",
        "azure",
        "azuread",
        "azuread v1",
        "databricks",
        "custom",
        "bearer",
        "api key",
        "sandbox",
    ],
)
def test_each_providers_chat_request(  # noqa: PLR0917 - one for each column above
    provider: str,
    block: dict[str, Any],
    url: str,
    headers: tuple[tuple[str, str], ...],
    body: dict[str, Any],
    auth: ClientCredentials | None,
) -> None:
    request = sent(provider, block, CHAT)
    assert (request.method, request.url, request.headers, request.auth) == (
        "POST",
        url,
        (*JSON, *headers),
        auth,
    )
    assert json.loads(request.body or b"") == body


@pytest.mark.parametrize(
    ("provider", "block", "base"),
    [
        ("openai", OPENAI, "https://api.openai.com/v1"),
        ("custom", CUSTOM, "http://localhost:8000/v1"),
        ("sandbox", {}, "http://127.0.0.1:8080/sandbox/v1"),
    ],
)
def test_each_task_has_its_path(provider: str, block: dict[str, Any], base: str) -> None:
    paths = {Task.CHAT: "/chat/completions", Task.COMPLETIONS: "/completions", Task.EMBEDDINGS: "/embeddings"}
    assert {task: sent(provider, block, {}, task=task).url for task in Task} == {
        task: base + path for task, path in paths.items()
    }


@pytest.mark.parametrize(
    "ending", ["", "/", "/chat/completions", "/completions", "/embeddings", "/chat/completions/"]
)
def test_a_custom_url_may_be_the_base_or_one_operation(ending: str) -> None:
    block = {"custom_provider_url": "http://host/v1" + ending}
    assert sent("custom", block, {}).url == "http://host/v1/chat/completions"
    assert sent("custom", block, {}, task=Task.EMBEDDINGS).url == "http://host/v1/embeddings"
    check = checked("custom", block)
    assert check is not None and check.url == "http://host/v1/models"


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "a b", "a:b", "a\nb", "ä"])
def test_a_custom_key_header_cannot_change_the_request(name: str) -> None:
    block = CUSTOM | {"api_key_auth": {"key": name, "value": REFERENCE}}
    with pytest.raises(ValueError, match="API key name"):
        registry.get("custom").config.model_validate(block)


AZURE_MODELS = "https://my.openai.azure.com/openai/models?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("provider", "block", "url", "headers", "auth"),
    [
        ("openai", OPENAI, "https://api.openai.com/v1/models", (BEARER,), None),
        ("openai", WITH_KEY, AZURE_MODELS, (("api-key", "key-1"),), None),
        ("openai", WITH_ENTRA, AZURE_MODELS, (), ENTRA),
        (
            "anthropic",
            {"anthropic_api_key": REFERENCE},
            "https://api.anthropic.com/v1/models",
            (("x-api-key", "key-1"), ("anthropic-version", "2023-06-01")),
            None,
        ),
        ("cohere", {"cohere_api_key": REFERENCE}, "https://api.cohere.com/v1/models", (BEARER,), None),
        (
            "cohere",
            {"cohere_api_key": REFERENCE, "cohere_api_base": "https://api.cohere.ai/v1"},
            "https://api.cohere.ai/v1/models",
            (BEARER,),
            None,
        ),
        (
            "google-cloud-vertex-ai",
            VERTEX,
            "https://us-central1-aiplatform.googleapis.com/v1/projects/my-project/locations/us-central1/models?pageSize=1",
            (),
            GoogleServiceAccount(
                key_json=KEY,
                scope="https://www.googleapis.com/auth/cloud-platform",
                token_url="https://oauth2.googleapis.com/token",
            ),
        ),
        (
            "databricks-model-serving",
            DATABRICKS,
            "https://w.cloud.databricks.com/api/2.0/serving-endpoints/m%201",
            (BEARER,),
            None,
        ),
        (
            "ai21labs",
            {"ai21labs_api_key": REFERENCE},
            "https://api.ai21.com/studio/v1/library/files?limit=1",
            (BEARER,),
            None,
        ),
        (
            "palm",
            {"palm_api_key": REFERENCE},
            "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1",
            (("x-goog-api-key", "key-1"),),
            None,
        ),
        (
            "custom",
            CUSTOM | {"bearer_token_auth": {"token": REFERENCE}},
            "http://localhost:8000/v1/models",
            (BEARER,),
            None,
        ),
        ("sandbox", {}, "http://127.0.0.1:8080/sandbox/v1/models", (), None),
    ],
    ids=[
        "openai",
        "azure",
        "azuread",
        "anthropic",
        "cohere",
        "cohere base",
        "vertex",
        "databricks",
        "ai21labs",
        "palm",
        "custom",
        "sandbox",
    ],
)
def test_a_credential_check_is_a_get_without_side_effects(
    provider: str, block: dict[str, Any], url: str, headers: tuple[tuple[str, str], ...], auth: object
) -> None:
    request = checked(provider, block)
    assert request is not None
    assert (request.method, request.url, request.body) == ("GET", url, None)
    assert (request.headers, request.auth) == ((ACCEPT, *headers), auth)


def test_bedrock_keys_are_checked_with_get_caller_identity() -> None:
    request = checked("amazon-bedrock", BEDROCK | ACCESS_KEYS)
    assert request is not None
    assert (request.method, request.url) == ("POST", "https://sts.us-east-1.amazonaws.com/")
    assert request.body == b"Action=GetCallerIdentity&Version=2011-06-15"
    assert request.auth == AwsSigV4(
        service="sts", region="us-east-1", access_key_id=KEY, secret_access_key=KEY
    )
    assert registry.get("amazon-bedrock").check_refused == {401, 403}


def test_bedrock_with_an_instance_profile_checks_the_keys_of_the_machine() -> None:
    arn = "arn:aws:iam::123456789012:instance-profile/bedrock"
    request = checked("amazon-bedrock", BEDROCK | {"instance_profile_arn": arn})
    assert request is not None
    assert request.auth == AwsInstanceProfile("sts", "us-east-1", arn)


def test_a_service_credential_fails_the_deployment_with_advice() -> None:
    with pytest.raises(SecretUnusable, match="give access keys or an instance profile"):
        checked("amazon-bedrock", BEDROCK | {"uc_service_credential_name": "my-credential"})


def test_regions_change_the_hosts() -> None:
    china = checked("amazon-bedrock", BEDROCK | ACCESS_KEYS | {"aws_region": "cn-north-1"})
    assert china is not None and china.url == "https://sts.cn-north-1.amazonaws.com.cn/"
    everywhere = checked("google-cloud-vertex-ai", VERTEX | {"region": "global"})
    assert everywhere is not None and everywhere.url.startswith(
        "https://aiplatform.googleapis.com/v1/projects/"
    )


REPLACED = Addresses(
    dict.fromkeys([*registry.PROVIDERS, "microsoft-entra"], "http://127.0.0.1:9000"),
)


@pytest.mark.parametrize(
    ("provider", "block", "replaced"),
    [
        ("openai", OPENAI, True),
        ("openai", OPENAI | {"openai_api_base": "https://api.openai.com/v1"}, False),
        ("openai", WITH_KEY, False),
        ("anthropic", {"anthropic_api_key": REFERENCE}, True),
        ("cohere", {"cohere_api_key": REFERENCE}, True),
        ("cohere", {"cohere_api_key": REFERENCE, "cohere_api_base": "https://host"}, False),
        ("amazon-bedrock", BEDROCK | ACCESS_KEYS, True),
        ("google-cloud-vertex-ai", VERTEX, True),
        ("databricks-model-serving", DATABRICKS, False),
        ("ai21labs", {"ai21labs_api_key": REFERENCE}, True),
        ("palm", {"palm_api_key": REFERENCE}, True),
        ("custom", CUSTOM, False),
        ("sandbox", {}, True),
    ],
    ids=[
        "openai",
        "openai given",
        "azure",
        "anthropic",
        "cohere",
        "cohere given",
        "bedrock",
        "vertex",
        "databricks",
        "ai21labs",
        "palm",
        "custom",
        "sandbox",
    ],
)
def test_default_addresses_can_be_replaced_and_configured_ones_cannot(
    provider: str, block: dict[str, Any], replaced: bool
) -> None:
    request, plain = checked(provider, block, REPLACED), checked(provider, block)
    assert request is not None and plain is not None
    assert request.url.startswith("http://127.0.0.1:9000/") is replaced
    assert request.url.split("/", 3)[3] == plain.url.split("/", 3)[3]


def test_the_login_host_can_be_replaced_separately() -> None:
    request = checked("openai", WITH_ENTRA, Addresses({"microsoft-entra": "http://127.0.0.1:9001"}))
    assert request is not None and isinstance(request.auth, ClientCredentials)
    assert request.url == AZURE_MODELS
    assert request.auth.token_url == "http://127.0.0.1:9001/contoso.example/oauth2/v2.0/token"
