"""Ray Serve, which runs models of one's own: the "provider" of a served entity that this server has deployed.

Requests cannot choose it; snapshots use it for own models. A language model answers in OpenAI's format below `url`/v1. Every other model
gets the caller's JSON at `url`/invocations, and its answer passes through unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import url
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, UpstreamRequest
from serving_ui.catalogue.wire_format import Build, WireFormat


class RayServeConfig(ProviderConfig):
    url: str = url(_("Application"), placeholder="http://127.0.0.1:8000/serving-ui/my-model")


def _base_url(config: RayServeConfig, _addresses: Addresses) -> str:
    return config.url


def _language_model(path: str) -> Build:
    def build(
        body: dict[str, Any], config: RayServeConfig, model: str, _addresses: Addresses
    ) -> UpstreamRequest:
        return upstream.post_json(f"{config.url}/v1{path}", upstream.openai_body(body, model=model))

    return build


def _any_model(
    body: dict[str, Any], config: RayServeConfig, _model: str, _addresses: Addresses
) -> UpstreamRequest:
    sent = {name: value for name, value in body.items() if name not in upstream.GATEWAY_FIELDS}
    return upstream.post_json(f"{config.url}/invocations", sent)


WIRE_FORMATS: Mapping[Task | None, WireFormat] = {
    **{task: WireFormat(build_request=_language_model(path)) for task, path in upstream.OPENAI_PATHS.items()},
    None: WireFormat(build_request=_any_model),
}
PROVIDER = Provider(
    name="ray-serve",
    label=_("Ray Serve"),
    config=RayServeConfig,
    models={},
    base_url=_base_url,
    hidden=True,
    wire_formats=WIRE_FORMATS,
)
