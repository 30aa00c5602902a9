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
    """Of any exception of an attempt. Only what may pass by itself, and has done no work, is worth a retry."""
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
        message = f"The provider cannot be asked: {fault}. {manager}"
        return AttemptFailed(GatewayError(400, message), may_fall_back=False)
    if isinstance(fault, TimedOut):
        return AttemptFailed(GatewayError(504, f"The provider was too slow: {fault}. Try again."))
    is_unsent = isinstance(fault, ConnectFailed)
    error = GatewayError(
        503,
        f"The provider did not answer properly: {fault}. Try again.",
        # Clients repeat by themselves what has a Retry-After, so it is set only if the provider cannot have done any work.
        retry_after=2 if is_unsent else None,
    )
    return AttemptFailed(error, may_retry=is_unsent)


def from_token_server(fault: Exception, endpoint: Endpoint) -> AttemptFailed:
    """Of a fault of the server that gives the endpoint its access token."""
    server = f"The server that gives endpoint {endpoint.name} its access to the provider"
    if isinstance(fault, TimedOut | TimeoutError):
        return AttemptFailed(GatewayError(504, f"{server} was too slow. Try again."))
    error = GatewayError(503, f"{server} did not answer properly: {fault}. Try again.", retry_after=2)
    # A second token request does no harm, so it is repeated even if the first one was read.
    return AttemptFailed(error, may_retry=isinstance(fault, ConnectFailed | ConnectionCut))


def from_open_circuit(circuit: CircuitBreaker, seconds: float, endpoint: Endpoint) -> AttemptFailed:
    """Of a host that gets no queries for `seconds`."""
    error = GatewayError(
        503,
        f"The provider of endpoint {endpoint.name} failed {circuit.failures} times in a row, so it is left alone for a moment. "
        f"Try again in {ceil(seconds)} s.",
        retry_after=ceil(seconds),
    )
    return AttemptFailed(error)


def undecodable_reply(endpoint: Endpoint) -> AttemptFailed:
    error = GatewayError(
        501,
        "The provider compressed its answer although it was asked not to, so it cannot be read. "
        f"The person who manages endpoint {endpoint.name} must have compression switched off there.",
    )
    return AttemptFailed(error)


def may_fall_back(status: int) -> bool:
    """Whether another provider may answer what this one rejected with `status`: busy, late or broken, not a bad request."""
    return status in {408, 424, 429} or status >= 500
