"""The URL paths of the gateway: which there are, and what each of them asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import OPENAI_PATHS
from serving_ui.gateway.errors import GatewayError

ROOT = "/serving-endpoints"
MLFLOW_ROOT = "/endpoints"
"""Where MLflow sends queries when its target is this server's address: `get_deploy_client("http://HOST:PORT")`."""
PREFIXES = (ROOT + "/", MLFLOW_ROOT + "/")
OPENAI_PATH = {task: path.removeprefix("/") for task, path in OPENAI_PATHS.items()}
_TASK_OF_PATH = {path: task for task, path in OPENAI_PATH.items()}
_MAX_CACHED_CHARS = 256


@dataclass(frozen=True, slots=True)
class GatewayPath:
    """What a path asks for: a query to a named endpoint, a query whose body names the endpoint (`task`), or a list of models.

    `entity` is the served entity that the path names; `is_response` means the Responses API. For a list, `endpoint` is its only entry.
    """

    endpoint: str | None = None
    entity: str | None = None
    task: Task | None = None
    is_response: bool = False
    is_list: bool = False


def parse_path(path: str) -> GatewayPath:
    """Raises the GatewayError 404 for any other path. Cached, except for long paths, which would fill the memory."""
    return _parse_cached(path) if len(path) <= _MAX_CACHED_CHARS else _parse_cached.__wrapped__(path)


@lru_cache(maxsize=4096)
def _parse_cached(path: str) -> GatewayPath:
    root = MLFLOW_ROOT if path.startswith(MLFLOW_ROOT + "/") else ROOT
    rest = path[len(root) :].strip("/")
    task = _TASK_OF_PATH.get(rest)
    if task is not None:
        return GatewayPath(task=task)
    match rest.split("/"):
        case ["responses"]:
            return GatewayPath(task=Task.CHAT, is_response=True)
        case ["models"]:
            return GatewayPath(is_list=True)
        case [name, "invocations"]:
            return GatewayPath(endpoint=name)
        case [name, "served-models", entity, "invocations"]:
            return GatewayPath(endpoint=name, entity=entity)
        case ["models", name]:
            return GatewayPath(endpoint=name, is_list=True)
    raise GatewayError(
        404,
        f"There is nothing at this path. Send queries to {ROOT}/<name>/invocations, or give an OpenAI client {ROOT} as base URL.",
        code="NOT_FOUND",
    )
