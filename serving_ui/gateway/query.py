"""One query at an endpoint, from its arrival to its usage record, and its attempts at providers.

`Query.close` writes the record once and before the last byte is sent, so that every answered query has a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import time

from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.registry import CALLED
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import SecretUnusable, UnsupportedRequest, UpstreamRequest
from serving_ui.catalogue.wire_format import RequestContext, WireFormat
from serving_ui.gateway.caller import Caller
from serving_ui.gateway.errors import GatewayError, invalid, request_secrets
from serving_ui.gateway.inference_request import InferenceRequest
from serving_ui.gateway.limits import Reservation
from serving_ui.gateway.principal_limits import NotAdmitted
from serving_ui.gateway.record import COMPLETE, FAILED, LIMITED, TRUNCATED, Record, Recorder
from serving_ui.gateway.reported_failure import ReportedFailure, to_error
from serving_ui.gateway.response_translator import ResponseTranslator
from serving_ui.gateway.snapshot import Endpoint, Entity, Principal, Snapshot
from serving_ui.gateway.token_counter import Counts, TokenCounter

_NO_REQUEST = InferenceRequest({})


class Query:
    """Open until `close`."""

    __slots__ = (
        "_is_output_unknown",
        "_recorder",
        "caller",
        "counter",
        "endpoint",
        "entity",
        "fallbacks",
        "is_billable",
        "is_open",
        "principal",
        "request",
        "reservation",
        "retries",
        "snapshot",
    )

    def __init__(
        self, snapshot: Snapshot, endpoint: Endpoint, principal: Principal, caller: Caller, recorder: Recorder
    ) -> None:
        self.snapshot = snapshot
        self.endpoint = endpoint
        self.principal = principal
        self.caller = caller
        self._recorder = recorder
        self.is_open = True
        self._is_output_unknown = False
        self.request = _NO_REQUEST
        self.entity: Entity | None = None
        """The served entity of the current attempt."""
        self.counter = TokenCounter()
        self.reservation: Reservation | None = None
        self.is_billable = False
        """A provider may have read the request and did not reject it, so tokens are counted."""
        self.retries = self.fallbacks = 0

    def close(self, status: int, completeness: str = COMPLETE, *, code: str = "") -> None:
        """Settle the reservation and write the record. Only the first call counts. `status` is what the caller sees."""
        if not self.is_open:
            return
        self.is_open = False
        counts = self._token_counts(completeness == COMPLETE)
        if self.reservation is not None:
            self.reservation.settle(counts[0] + counts[1], may_be_more=self._is_output_unknown)
        caller, endpoint, entity, request = self.caller, self.endpoint, self.entity, self.request
        elapsed = caller.elapsed_ms()
        self._recorder.record(
            Record(  # positional: keyword arguments take twice as long
                caller.request_id.decode(),
                time() - elapsed / 1000,
                endpoint.id,
                endpoint.name,
                entity.name if entity is not None else "",
                endpoint.config_version,
                self.principal.id,
                self.principal.email,
                endpoint.task or "",
                entity.provider if entity is not None else "",
                entity.model if entity is not None else "",
                status,
                completeness,
                code,
                request.stream,
                *counts,
                caller.first_byte_ms or elapsed,
                elapsed,
                caller.overhead_ms(),
                self.retries,
                self.fallbacks,
                request.client_request_id,
                request.usage_context,
                caller.traceparent(),
            )
        )

    def fail(self, error: GatewayError) -> None:
        """Close with an error, which ends a stream that has begun."""
        if self.caller.has_begun:
            self.close(200, TRUNCATED, code=error.code)
        else:
            self.close(error.status, LIMITED if isinstance(error, NotAdmitted) else FAILED, code=error.code)

    def start_attempt(self) -> None:
        """A retry or fallback begins. The tokens of the attempt before stay counted."""
        self.counter.start_attempt(self._token_counts(ended=False))
        self.is_billable = False

    def _token_counts(self, ended: bool) -> Counts:
        """As the provider has reported them so far; what it has not reported is estimated if the attempt is billable."""
        if not self.is_billable:
            return self.counter.reported_counts()
        if not (ended or self.counter.has_output):
            self._is_output_unknown = True  # the model may have written as much as it was allowed to
        return self.counter.estimated_counts(self.request, ended)


@dataclass(slots=True)
class Attempt:
    """One query sent to one served entity. `upstream_request` is replaced when it is authenticated."""

    query: Query
    entity: Entity
    wire_format: WireFormat
    upstream_request: UpstreamRequest

    @classmethod
    def of(cls, query: Query, entity: Entity) -> Attempt:
        """Raises GatewayError when the provider does not support this request."""
        wire_format = _wire_format(query, entity)
        try:
            request = wire_format.build_request(
                query.request.body, entity.config, entity.model, query.snapshot.addresses
            )
        except UnsupportedRequest as refusal:
            raise invalid(str(refusal)) from refusal
        except SecretUnusable as problem:
            raise GatewayError(400, str(problem)) from problem
        return cls(query, entity, wire_format, request)

    @property
    def translator(self) -> ResponseTranslator:
        """A new translator of the reply."""
        request = self.query.request
        return ResponseTranslator(
            wire_format=self.wire_format,
            request_context=self._request_context,
            fail=self.failure,
            counter=self.query.counter,
            shows_usage=request.shows_usage,
            is_response=request.is_response,
        )

    def _request_context(self) -> RequestContext:
        kind = "chatcmpl" if self.entity.task is Task.CHAT else "cmpl"
        completion_id = f"{kind}-{self.query.caller.request_id.decode()}"
        return RequestContext(self.query.request.body, self.entity.model, completion_id, int(time()))

    def failure(self, failed: ProviderError) -> ReportedFailure:
        """The error for the caller that a failure reported within the reply means."""
        return to_error(failed, endpoint=self.query.endpoint.name, secrets=self.secrets)

    @property
    def secrets(self) -> list[str]:
        """Values of the upstream request that must never appear in an error."""
        return request_secrets(url=self.upstream_request.url, headers=self.upstream_request.headers)


def _wire_format(query: Query, entity: Entity) -> WireFormat:
    """The wire format of the entity's provider for this task. Raises GatewayError."""
    provider = CALLED[entity.provider]
    if query.request.is_response:
        if provider.build_responses_request is None:
            raise invalid(
                f"{provider.label} has no Responses API. Use the path chat/completions with endpoint {query.endpoint.name}."
            )
        return WireFormat(build_request=provider.build_responses_request)
    wire_format = provider.wire_formats.get(entity.task)
    if wire_format is None:
        raise GatewayError(
            501, f"Queries to {provider.label} with the task {_task_label(entity)} are not supported yet."
        )
    if (
        wire_format.translate_response is not None
        and wire_format.stream_translator is None
        and query.request.stream
    ):
        raise invalid(
            f"{provider.label} does not stream with the task {_task_label(entity)}. Leave out the field stream."
        )
    return wire_format


def _task_label(entity: Entity) -> str:
    return entity.task.label if entity.task else "Custom"
