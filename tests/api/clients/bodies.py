"""Bodies of requests with an OpenAI model: dicts for MLflow and plain HTTP, and the classes of the Databricks SDK."""

from __future__ import annotations

from typing import Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import (
    EndpointCoreConfigInput,
    EndpointStateConfigUpdate,
    ServedEntityInput,
    ServingEndpointDetailed,
)

from tests.support.waiting import wait_until

B = "/api/2.0/serving-endpoints"
CHAT, COMPLETIONS, EMBEDDINGS = "llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings"
MESSAGES: list[Any] = [{"role": "user", "content": "Hello"}]


def entity(secret: str, *, model: str = "gpt-4", task: str = CHAT, name: str = "entity") -> dict[str, Any]:
    """A served entity."""
    external = {
        "name": model,
        "provider": "openai",
        "task": task,
        "openai_config": {"openai_api_key": secret},
    }
    return {"name": name, "external_model": external}


def config(secret: str, **changes: Any) -> dict[str, Any]:
    """A config with one served entity."""
    return {"served_entities": [entity(secret, **changes)]}


def served(secret: str, **changes: Any) -> list[ServedEntityInput]:
    """One served entity, for the SDK."""
    return [ServedEntityInput.from_dict(entity(secret, **changes))]


def core(secret: str, **changes: Any) -> EndpointCoreConfigInput:
    """A config for the SDK's create, whose class requires a name that is not sent."""
    return EndpointCoreConfigInput(name="ignored", served_entities=served(secret, **changes))


def wait_until_settled(workspace: WorkspaceClient, name: str) -> ServingEndpointDetailed:
    """The endpoint after its update has ended. Polls more often than the SDK's own waiter."""
    seen: list[ServingEndpointDetailed] = []

    def is_settled() -> bool:
        seen[:] = [workspace.serving_endpoints.get(name)]
        state = seen[0].state
        return state is not None and state.config_update != EndpointStateConfigUpdate.IN_PROGRESS

    wait_until(is_settled, what=f"{name} to settle")
    return seen[0]


def ready(workspace: WorkspaceClient, name: str, secret: str, **changes: Any) -> ServingEndpointDetailed:
    """Creates an endpoint and waits until it serves."""
    workspace.serving_endpoints.create(name, config=core(secret, **changes))
    return wait_until_settled(workspace, name)
