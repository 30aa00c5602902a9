"""The base class of the models that run on Ray. A team subclasses it to serve any Python code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class InvalidRequest(Exception):
    """The caller's request is not valid for this model. The text is a sentence for the caller, who gets status 400."""


class ServedModel:
    """A model of your own. Register its subclass as `module:Class`, with the packages that it needs.

        class Doubled(ServedModel):
            def load(self) -> None:
                self.factor = 2

            def predict(self, body):
                return {"predictions": [self.factor * value for value in body["inputs"]]}

    Each replica makes one instance and calls `load` once; its first request waits for that. `predict` and `stream` may be called in
    several threads at a time, as many as the endpoint has concurrent requests for each replica.

    A model without a task receives the JSON body of a query and returns anything that JSON can express. A model with a task receives
    the request of that OpenAI API and returns its response.
    """

    location: str
    """The registered location of the model."""
    arguments: dict[str, Any]
    """The registered engine arguments."""
    task: str | None
    """`llm/v1/chat`, `llm/v1/completions`, `llm/v1/embeddings`, or None for any JSON."""
    model_id: str
    """The name of the model in OpenAI responses."""
    concurrency: int
    """The most requests that are answered at a time."""
    cpus: float
    """The CPUs of this replica."""

    def load(self) -> None:
        """Load the model. An exception fails the deployment, and its last line is shown as the reason."""

    def predict(self, body: Any) -> Any:
        """Answer one query. Raise InvalidRequest for status 400; any other exception is status 500 with its last line."""
        raise NotImplementedError("This model does not define predict.")

    def stream(self, body: Any) -> Iterable[Any]:
        """Answer one query with `"stream": true`: yield the chunks of the OpenAI stream. Refused by default."""
        raise InvalidRequest("This model cannot stream. Send the request without stream.")
