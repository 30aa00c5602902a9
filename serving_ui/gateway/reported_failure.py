"""A failure that a provider told within an answer, as an error for the caller: the same as if it had come as an HTTP status."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic_core import to_json

from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.gateway.errors import GatewayError, from_reply


class ReportedFailure(GatewayError):
    """`upstream_status` is the status that it would have been. `event` ends a stream with it: as usual, or as the API that is spoken has it.

    Only who was limited is told when to come back: of any other failure it is not certain that nothing has been done.
    """

    event = b""

    def __init__(self, error: GatewayError, *, upstream_status: int) -> None:
        after = error.retry_after if error.status == 429 else None
        super().__init__(error.status, error.message, code=error.code, retry_after=after)
        self.upstream_status = upstream_status
        self.event = error.event


ToError = Callable[[ProviderError], ReportedFailure]


def to_error(failed: ProviderError, *, endpoint: str, secrets: Iterable[str]) -> ReportedFailure:
    """In the provider's words, without any secret."""
    words = str(failed).encode(errors="replace").decode()  # halves of surrogate pairs
    body = to_json({"message": words, "code": failed.code.encode(errors="replace").decode()})
    error = from_reply(status=failed.status, headers={}, body=body, endpoint=endpoint, secrets=secrets)
    return ReportedFailure(error, upstream_status=failed.status)
