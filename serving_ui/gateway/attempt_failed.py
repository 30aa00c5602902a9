"""What a failed attempt at a provider means: the error for the caller, and whether a retry or a fallback may help. Pure."""

from __future__ import annotations

from math import ceil

from serving_ui.gateway.circuit_breaker import CircuitBreaker
from serving_ui.gateway.connection import ConnectFailed, ConnectionCut, TimedOut
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.outgoing import InvalidUpstreamRequest
from serving_ui.gateway.pool import CertificateInvalid
from serving_ui.gateway.reported_failure import ReportedFailure
from serving_ui.gateway.snapshot import Endpoint
from serving_ui.lib.egress import EgressRefused


class AttemptFailed(Exception):
    """One attempt brought no answer. `error` is for the caller, unless a retry (the same entity) or a fallback (another) succeeds."""

    def __init__(
        self,
        error: GatewayError,
        *,
        may_retry: bool = False,
        retry_after: float | None = None,
        may_fall_back: bool = True,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.may_retry = may_retry
        self.retry_after = retry_after
        self.may_fall_back = may_fall_back


def from_fault(fault: Exception, endpoint: Endpoint) -> AttemptFailed:
    """The failure that an exception of an attempt means. It may be retried only if it is temporary and the model has done no work."""
    if isinstance(fault, AttemptFailed):
        return fault
    if isinstance(fault, ReportedFailure):  # it came within an answer, so the model may have worked: no retry
        return AttemptFailed(fault, may_fall_back=may_fall_back(fault.upstream_status))
    if isinstance(fault, GatewayError):  # the answer cannot be passed on
        return AttemptFailed(fault, may_fall_back=fault.status >= 500)
    manager = f"The person who manages endpoint {endpoint.name} must check it."
    if isinstance(fault, EgressRefused):
        message = f"The provider's address may not be used. {fault} {manager}"
        return AttemptFailed(GatewayError(400, message), may_fall_back=False)
    if isinstance(fault, CertificateInvalid | InvalidUpstreamRequest):
        message = f"No request can be sent to the provider: {fault}. {manager}"
        return AttemptFailed(GatewayError(400, message), may_fall_back=False)
    if isinstance(fault, TimedOut):
        return AttemptFailed(GatewayError(504, f"The provider was too slow: {fault}. Try again."))
    is_unsent = isinstance(fault, ConnectFailed)
    error = GatewayError(
        503,
        f"The provider gave no valid answer: {fault}. Try again.",
        # Clients repeat a request whose answer has a Retry-After, so it is set only if the provider cannot have done any work.
        retry_after=2 if is_unsent else None,
    )
    return AttemptFailed(error, may_retry=is_unsent)


def from_token_server(fault: Exception, endpoint: Endpoint) -> AttemptFailed:
    """The failure that a fault of the endpoint's token server means."""
    server = f"The token server of endpoint {endpoint.name}"
    if isinstance(fault, TimedOut | TimeoutError):
        return AttemptFailed(GatewayError(504, f"{server} was too slow. Try again."))
    error = GatewayError(503, f"{server} gave no valid answer: {fault}. Try again.", retry_after=2)
    # A second token request does no harm, so it is repeated even if the first one was read.
    return AttemptFailed(error, may_retry=isinstance(fault, ConnectFailed | ConnectionCut))


def from_open_circuit(circuit: CircuitBreaker, seconds: float, endpoint: Endpoint) -> AttemptFailed:
    """The failure of a query that is not sent, because its host gets none for `seconds`."""
    error = GatewayError(
        503,
        f"The provider of endpoint {endpoint.name} failed {circuit.failures} times in a row, so it gets no queries for a moment. "
        f"Try again in {ceil(seconds)} s.",
        retry_after=ceil(seconds),
    )
    return AttemptFailed(error)


def undecodable_reply(endpoint: Endpoint) -> AttemptFailed:
    error = GatewayError(
        501,
        "The provider compressed its answer although the request forbids it, and the answer cannot be decompressed. "
        f"The person who manages endpoint {endpoint.name} must have compression switched off there.",
    )
    return AttemptFailed(error)


def may_fall_back(status: int) -> bool:
    """Whether a fallback is tried after this status of a provider, which is busy, late or broken.

    Attempts without a reply allow one too, except after EgressRefused, CertificateInvalid and InvalidUpstreamRequest. The request may
    then be paid for twice, which the endpoint's manager accepts by enabling fallbacks.
    """
    return status in {408, 424, 429} or status >= 500
