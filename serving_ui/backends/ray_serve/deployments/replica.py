"""The Ray Serve application of one own model: its HTTP paths, and the replica that answers them."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from serving_ui.backends.ray_serve.deployments.output import redact_output
from serving_ui.backends.ray_serve.deployments.served_model import InvalidRequest, ServedModel
from serving_ui.backends.ray_serve.environment import without_values

if TYPE_CHECKING:
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import Response

PATHS = {
    None: "/invocations",
    "llm/v1/chat": "/v1/chat/completions",
    "llm/v1/completions": "/v1/completions",
    "llm/v1/embeddings": "/v1/embeddings",
}
_MODULES = "serving_ui.backends.ray_serve.deployments"
_CLASSES = {"mlflow": f"{_MODULES}.pyfunc:PyFunc", "llama_cpp": f"{_MODULES}.llama_cpp:LlamaCpp"}
MAX_WORDS = 1000
_END = object()
T = TypeVar("T")
log = logging.getLogger("ray.serve")


def build(arguments: dict[str, Any]) -> serve.Application:
    """The application. `arguments` are those of Application.config in serving_ui/backends/ray_serve/application.py."""
    from ray import serve  # noqa: PLC0415 - exists on the cluster only

    return serve.deployment(Replica, name="Model").bind(arguments)


class Replica:
    """Loads the model, then answers `/ping`, the path of the model's task, and `/v1/models`."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self._task = arguments["task"]
        self._model: ServedModel | None = None
        self._values: list[str] = []
        self._threads = ThreadPoolExecutor(arguments["concurrency"])

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Called by Ray after `__init__` and before the first request, and later when the variables have changed.

        The environment variables come this way, because Ray writes those of a runtime environment, and the arguments of an
        application, to its logs.
        """
        os.environ.update(user_config["environment"])
        # The former ones stay: the model may still have them.
        self._values += [each for each in user_config["environment"].values() if each not in self._values]
        if self._model is None:
            redact_output(self._values, log)
            try:
                self._model = _load(self._arguments)
            except Exception:  # of the model, which is anybody's code; Ray gets it too
                log.exception("The model could not be loaded.")
                raise

    async def __call__(self, request: Request) -> Response:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        if path == "/ping":
            return _response({"status": "ok"})
        if path == "/v1/models" and self._task is not None:
            model = {
                "id": self._arguments["model_id"],
                "object": "model",
                "created": 0,
                "owned_by": "serving-ui",
            }
            return _response({"object": "list", "data": [model]})
        if path != PATHS[self._task] or request.method != "POST":
            return _error(404, f"This model answers POST {PATHS[self._task]}.")
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            return _error(400, "The body of the query is not valid JSON.")
        if self._task is not None and not isinstance(body, dict):
            return _error(400, "The body of the query must be a JSON object.")
        return await self._answer(body)

    async def _answer(self, body: Any) -> Response:
        if self._model is None:
            return _error(503, "The model is loading.")
        try:
            if self._task is not None and body.get("stream"):
                return await self._stream(iter(self._model.stream(body)))
            return _response(await self._in_thread(self._model.predict, body))
        except InvalidRequest as problem:
            return _error(400, without_values(str(problem), self._values))
        except Exception as problem:  # the model is anybody's code; its own words reach the caller
            log.exception("The model failed.")
            return _error(500, _words(problem, self._values))

    async def _stream(self, chunks: Iterator[Any]) -> Response:
        """The first chunk is awaited, so that a request that is refused gets its own status."""
        from starlette.responses import StreamingResponse  # noqa: PLC0415 - exists on the cluster only

        first = await self._in_thread(next, chunks, _END)
        return StreamingResponse(self._events(first, chunks), media_type="text/event-stream")

    async def _events(self, chunk: Any, chunks: Iterator[Any]) -> AsyncIterator[str]:
        """Server-sent events, which end with `[DONE]` or with an error."""
        try:
            while chunk is not _END:
                yield f"data: {json.dumps(chunk)}\n\n"
                chunk = await self._in_thread(next, chunks, _END)
            yield "data: [DONE]\n\n"
        except Exception as problem:  # the status has been sent already
            log.exception("The model failed in the middle of a stream.")
            yield f"data: {json.dumps(_error_body(500, _words(problem, self._values)))}\n\n"

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _load(arguments: dict[str, Any]) -> ServedModel:
    """An instance of the model's class, loaded. Raises TypeError with a sentence if there is no such class."""
    module, _, name = (_CLASSES.get(arguments["kind"]) or arguments["location"]).partition(":")
    model_class = getattr(importlib.import_module(module), name, None)
    if not (isinstance(model_class, type) and issubclass(model_class, ServedModel)):
        raise TypeError(f"{module}:{name} is not a subclass of ServedModel.")
    model = model_class()
    model.location = arguments["location"]
    model.arguments = arguments["engine_arguments"]
    model.task = arguments["task"]
    model.model_id = arguments["model_id"]
    model.concurrency = arguments["concurrency"]
    model.cpus = arguments["cpus"]
    model.load()
    return model


def _response(content: Any, status: int = 200) -> Response:
    from starlette.responses import JSONResponse  # noqa: PLC0415 - exists on the cluster only

    return JSONResponse(content, status)


def _error(status: int, message: str) -> Response:
    return _response(_error_body(status, message), status)


def _error_body(status: int, message: str) -> dict[str, Any]:
    """As OpenAI's clients read it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "code": status}}


def _words(problem: Exception, values: list[str]) -> str:
    """The last line only: libraries put whole tracebacks of other processes into the texts of their exceptions. Without the values of
    environment variables, which may be secrets: whoever may query the model reads this."""
    lines = without_values(str(problem), values).strip().splitlines()
    return f"{type(problem).__name__}: {lines[-1] if lines else ''}"[:MAX_WORDS]
