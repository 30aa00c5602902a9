"""A failure that a provider reports within a reply of status 200, as the error that its HTTP status would have been."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic_core import to_json

from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.gateway.errors import GatewayError, from_provider_reply


class ReportedFailure(GatewayError):
    """`upstream_status` is that HTTP status. `event` is the last event of a stream that ends with it, in the API of that stream.

    Only a 429 keeps its `retry_after`: after any other failure it is not certain that the model has done no work.
    """

    event = b""

    def __init__(self, error: GatewayError, *, upstream_status: int) -> None:
        after = error.retry_after if error.status == 429 else None
        super().__init__(error.status, error.message, code=error.code, retry_after=after)
        self.upstream_status = upstream_status
        self.event = error.event


ToError = Callable[[ProviderError], ReportedFailure]


def to_error(failed: ProviderError, *, endpoint: str, secrets: Iterable[str]) -> ReportedFailure:
    """The error with the provider's message, from which secrets are removed."""
    words = str(failed).encode(errors="replace").decode()  # lone surrogates
    body = to_json({"message": words, "code": failed.code.encode(errors="replace").decode()})
    error = from_provider_reply(
        status=failed.status, headers={}, body=body, endpoint=endpoint, secrets=secrets
    )
    return ReportedFailure(error, upstream_status=failed.status)
