"""Google Cloud Vertex AI: models of a project in a region, with the JSON key of a service account.

Vendor facts as of November 2026, cloud.google.com/vertex-ai/docs/reference/rest: https://{region}-aiplatform.googleapis.com (without
the region for `global`), tokens from https://oauth2.googleapis.com/token. The credential check lists the project's models. The
`token_uri` in the key is never used, because with it the author of the key could have the signed JWT sent to any host.
"""

from __future__ import annotations

from collections.abc import Callable

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import secret, text
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.providers.google_cloud_vertex_ai import (
    embeddings,
    gemini_request,
    gemini_response,
    models,
)
from serving_ui.catalogue.providers.google_cloud_vertex_ai.gemini_streams import ChatStream, CompletionStream
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, GoogleServiceAccount, UpstreamRequest
from serving_ui.catalogue.wire_format import Build, Json, WireFormat

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class GoogleCloudVertexAIConfig(ProviderConfig):
    project_id: str = text(
        _("Project ID"), pattern=r"[a-z0-9][a-z0-9.:-]*", placeholder="my-project-123456", max_length=128
    )
    region: str = text(
        _("Region"),
        pattern=r"global|[a-z]+-[a-z]+\d{1,2}",
        placeholder="us-central1",
        help=_("Some models are only in some regions."),
    )
    private_key: Secret = secret(
        _("Private key"),
        multiline=True,
        help=_("The JSON key of a service account, the whole file."),
    )


_GEMINI = (models.REPLACEMENT, "gemini-3.5-flash-lite", "gemini-3.1-flash-lite")
_MODELS = {
    Task.CHAT: (
        *_GEMINI,
        "gemini-2.0-flash",
        "gemini-1.5-pro",
        "gemini-1.5-flash",
        "gemini-1.0-pro",
        "gemini-pro",
    ),
    Task.COMPLETIONS: _GEMINI,
    Task.EMBEDDINGS: (
        "gemini-embedding-001",
        "text-embedding-005",
        "text-embedding-004",
        "textembedding-gecko",
    ),
}


def _base_url(config: GoogleCloudVertexAIConfig, addresses: Addresses) -> str:
    host = "aiplatform" if config.region == "global" else f"{config.region}-aiplatform"
    return addresses.vendor(f"https://{host}.googleapis.com", "google-cloud-vertex-ai")


def _token_url(addresses: Addresses) -> str:
    return addresses.vendor(TOKEN_URL, "google-cloud-vertex-ai")


def _other_urls(_config: GoogleCloudVertexAIConfig, addresses: Addresses) -> tuple[str, ...]:
    return (_token_url(addresses),)


def _check(
    config: GoogleCloudVertexAIConfig, _model: str, _task: Task, addresses: Addresses
) -> UpstreamRequest:
    location = f"projects/{upstream.path_segment(config.project_id)}/locations/{upstream.path_segment(config.region)}"
    address = f"{_base_url(config, addresses)}/v1/{location}/models?pageSize=1"
    return upstream.get(address, auth=_auth(config, addresses))


def _auth(config: GoogleCloudVertexAIConfig, addresses: Addresses) -> GoogleServiceAccount:
    return GoogleServiceAccount(key_json=config.private_key, scope=SCOPE, token_url=_token_url(addresses))


def _post(
    config: GoogleCloudVertexAIConfig, model: str, method: str, body: Json, addresses: Addresses
) -> UpstreamRequest:
    resource = models.path(model, project=config.project_id, region=config.region)
    address = f"{_base_url(config, addresses)}/v1/{resource}:{method}"
    return upstream.post_json(address, body, auth=_auth(config, addresses))


def _generate(translate: Callable[[Json, str], Json]) -> Build:
    def build(
        body: Json, config: GoogleCloudVertexAIConfig, model: str, addresses: Addresses
    ) -> UpstreamRequest:
        models.refuse_retired(model)
        method = "streamGenerateContent?alt=sse" if body.get("stream") else "generateContent"
        return _post(config, model, method, translate(body, model), addresses)

    return build


def _embed(
    body: Json, config: GoogleCloudVertexAIConfig, model: str, addresses: Addresses
) -> UpstreamRequest:
    method, sent = embeddings.embed_request(body, model)
    return _post(config, model, method, sent, addresses)


_WIRE_FORMATS: dict[Task | None, WireFormat] = {
    Task.CHAT: WireFormat(
        build_request=_generate(gemini_request.chat),
        translate_response=gemini_response.translate_chat,
        stream_translator=ChatStream,
    ),
    Task.COMPLETIONS: WireFormat(
        build_request=_generate(gemini_request.completion),
        translate_response=gemini_response.translate_completion,
        stream_translator=CompletionStream,
    ),
    Task.EMBEDDINGS: WireFormat(build_request=_embed, translate_response=embeddings.translate_embeddings),
}


PROVIDER = Provider(
    name="google-cloud-vertex-ai",
    label=_("Google Cloud Vertex AI"),
    config=GoogleCloudVertexAIConfig,
    models=_MODELS,
    base_url=_base_url,
    other_urls=_other_urls,
    check=_check,
    wire_formats=_WIRE_FORMATS,
)
