"""Databricks Model Serving: an endpoint of another workspace. The model's name is that endpoint's name.

Vendor facts as of November 2026, docs.databricks.com/api/workspace/servingendpoints: `POST {workspace}/serving-endpoints/{name}/
invocations` takes the OpenAI-shaped body without a model, `POST {workspace}/serving-endpoints/responses` one with it; `GET {workspace}/api/2.0/serving-endpoints/{name}` returns the endpoint.
"""

from __future__ import annotations

from typing import Any

from serving_ui.catalogue import upstream
from serving_ui.catalogue.fields import secret, url
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import Addresses, UpstreamRequest
from serving_ui.catalogue.wire_format import WireFormat


class DatabricksModelServingConfig(ProviderConfig):
    databricks_workspace_url: str = url(
        _("Databricks workspace URL"),
        placeholder="https://my-workspace.cloud.databricks.com",
        help=_("The address of the workspace that has the serving endpoint."),
    )
    databricks_api_token: Secret = secret(
        _("Databricks API token"),
        help=_("A token of someone who may query that serving endpoint."),
    )


def _base_url(config: DatabricksModelServingConfig, _addresses: Addresses) -> str:
    return config.databricks_workspace_url.rstrip("/")


def _check(
    config: DatabricksModelServingConfig, model: str, _task: Task, addresses: Addresses
) -> UpstreamRequest:
    address = f"{_base_url(config, addresses)}/api/2.0/serving-endpoints/{upstream.path_segment(model)}"
    return upstream.get(address, (upstream.bearer(config.databricks_api_token),))


def _list_models(config: DatabricksModelServingConfig, addresses: Addresses) -> UpstreamRequest:
    address = f"{_base_url(config, addresses)}/api/2.0/serving-endpoints"
    return upstream.get(address, (upstream.bearer(config.databricks_api_token),))


def _build(
    body: dict[str, Any], config: DatabricksModelServingConfig, model: str, addresses: Addresses
) -> UpstreamRequest:
    address = f"{_base_url(config, addresses)}/serving-endpoints/{upstream.path_segment(model)}/invocations"
    sent = upstream.openai_body(body, model=None)
    return upstream.post_json(address, sent, (upstream.bearer(config.databricks_api_token),))


def _responses(
    body: dict[str, Any], config: DatabricksModelServingConfig, model: str, addresses: Addresses
) -> UpstreamRequest:
    address = f"{_base_url(config, addresses)}/serving-endpoints/responses"
    sent = upstream.openai_body(body, model=model)
    return upstream.post_json(address, sent, (upstream.bearer(config.databricks_api_token),))


PROVIDER = Provider(
    name="databricks-model-serving",
    label=_("Databricks Model Serving"),
    config=DatabricksModelServingConfig,
    models={Task.CHAT: (), Task.COMPLETIONS: (), Task.EMBEDDINGS: ()},
    base_url=_base_url,
    check=_check,
    list_models=_list_models,
    wire_formats=dict.fromkeys(Task, WireFormat(build_request=_build)),
    build_responses_request=_responses,
)
