"""One query that has reached an endpoint: who asks what, what is being tried, what it has used so far, and how it ended.

`close` writes its record, once and before the last byte goes out, so that whoever has an answer has a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import time

from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import SecretUnusable, UnsupportedRequest, UpstreamRequest
from serving_ui.catalogue.wire_format import RequestContext, WireFormat
from serving_ui.gateway.caller import Caller
from serving_ui.gateway.errors import GatewayError, invalid, sent_secrets
from serving_ui.gateway.inference_request import InferenceRequest
from serving_ui.gateway.limits import NotAdmitted, Reservation
from serving_ui.gateway.record import Record, Recorder
from serving_ui.gateway.reported_failure import ReportedFailure, to_error
from serving_ui.gateway.response_translator import ResponseTranslator
from serving_ui.gateway.snapshot import Endpoint, Entity, Principal, Snapshot
from serving_ui.gateway.token_counter import Counts, TokenCounter

CALLER_LEFT = 499
COMPLETE = "complete"
TRUNCATED = "truncated"
LEFT = "client_left"
LIMITED = "limited"
FAILED = "failed"
_NOTHING_READ = InferenceRequest({})


class Query:
    """From the moment when its endpoint is reached until `close`."""

    __slots__ = (
        "_is_output_unknown",
        "_recorder",
        "caller",
        "counter",
        "endpoint",
        "entity",
        "fallbacks",
        "is_open",
        "principal",
        "request",
        "reservation",
        "retries",
        "snapshot",
        "was_asked",
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
        """Until `close`."""
        self._is_output_unknown = False
        self.request = _NOTHING_READ
        self.entity: Entity | None = None
        self.counter = TokenCounter()
        self.reservation: Reservation | None = None
        self.was_asked = False
        """A provider may have read the request and did not refuse it, so there are tokens to count."""
        self.retries = self.fallbacks = 0

    def close(self, status: int, completeness: str = COMPLETE, *, code: str = "") -> None:
        """How it ended; only the first time counts. `status` is what the caller gets to see."""
        if not self.is_open:
            return
        self.is_open = False
        used = self._used(completeness == COMPLETE)
        if self.reservation is not None:
            self.reservation.settle(used[0] + used[1], may_be_more=self._is_output_unknown)
        caller, endpoint, entity, request = self.caller, self.endpoint, self.entity, self.request
        elapsed = caller.elapsed_ms()
        self._recorder.record(
            Record(  # in the order of its fields: by their names it takes twice as long
                caller.request_id.decode(),
                time() - elapsed / 1000,
                endpoint.id,
                endpoint.name,
                entity.name if entity is not None else "",
                endpoint.config_version,
                self.principal.id,
                self.principal.email,
                str(endpoint.task),
                entity.provider if entity is not None else "",
                entity.model if entity is not None else "",
                status,
                completeness,
                code,
                request.stream,
                *used,
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
        """It ended with this error."""
        if self.caller.began:
            self.close(200, TRUNCATED, code=error.code)
        else:
            self.close(error.status, LIMITED if isinstance(error, NotAdmitted) else FAILED, code=error.code)

    def start_retry(self) -> None:
        """It is asked once more, or elsewhere. What the try before has used stays counted."""
        self.counter.start_retry(self._used(ended=False))
        self.was_asked = False

    def _used(self, ended: bool) -> Counts:
        """What the provider told until now; the rest is estimated, unless nobody read the request or it was refused."""
        if not self.was_asked:
            return self.counter.reported_counts()
        if not (ended or self.counter.has_output):
            self._is_output_unknown = True  # a model may have written all that it was allowed to
        return self.counter.estimated_counts(self.request, ended)


@dataclass(slots=True)
class Attempt:
    """One served entity that is asked one query. `request` is what is sent, with the signature once it has one."""

    query: Query
    entity: Entity
    wire: WireFormat
    upstream_request: UpstreamRequest

    @classmethod
    def of(cls, query: Query, entity: Entity) -> Attempt:
        """Raises GatewayError when this provider cannot be asked this."""
        wire = _wire(query, entity)
        try:
            request = wire.build_request(
                query.request.body, entity.config, entity.model, query.snapshot.addresses
            )
        except UnsupportedRequest as refusal:
            raise invalid(str(refusal)) from refusal
        except SecretUnusable as problem:
            raise GatewayError(400, str(problem)) from problem
        return cls(query, entity, wire, request)

    @property
    def translator(self) -> ResponseTranslator:
        """What becomes of its answer."""
        request = self.query.request
        return ResponseTranslator(
            wire=self.wire,
            asked=self._asked,
            fail=self.failure,
            counter=self.query.counter,
            shows_usage=request.shows_usage,
            named=request.is_response,
        )

    def _asked(self) -> RequestContext:
        kind = "chatcmpl" if self.entity.task is Task.CHAT else "cmpl"
        shown = f"{kind}-{self.query.caller.request_id.decode()}"
        return RequestContext(self.query.request.body, self.entity.model, shown, int(time()))

    def failure(self, failed: ProviderError) -> ReportedFailure:
        """What it means for the caller that the provider told of this failure."""
        return to_error(failed, endpoint=self.query.endpoint.name, secrets=self.secrets)

    @property
    def secrets(self) -> list[str]:
        """What must never come back in an error."""
        return sent_secrets(url=self.upstream_request.url, headers=self.upstream_request.headers)


def _wire(query: Query, entity: Entity) -> WireFormat:
    """How the entity's provider is asked this."""
    provider = PROVIDERS[entity.provider]
    if query.request.is_response:
        if provider.build_responses_request is None:
            raise invalid(
                f"{provider.label} has no Responses API. Use the path chat/completions with endpoint {query.endpoint.name}."
            )
        return WireFormat(build_request=provider.build_responses_request)
    wire = provider.wire_formats.get(entity.task)
    if wire is None:
        raise GatewayError(
            501, f"Queries to {provider.label} with the task {entity.task.label} are not supported yet."
        )
    if wire.translate_response is not None and wire.stream_translator is None and query.request.stream:
        raise invalid(
            f"{provider.label} does not stream with the task {entity.task.label}. Leave out the field stream."
        )
    return wire
