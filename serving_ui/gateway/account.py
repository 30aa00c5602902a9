"""What one query used, while it is answered: its record, its tokens, its reservation. Closed once, before the last byte goes out."""

from __future__ import annotations

from time import time

from serving_ui.gateway.caller import Caller
from serving_ui.gateway.limits import Reservation
from serving_ui.gateway.question import Question
from serving_ui.gateway.record import Ledger, Record
from serving_ui.gateway.snapshot import Endpoint, Entity, Principal
from serving_ui.gateway.tally import Tally, estimate

CALLER_LEFT = 499
COMPLETE = "complete"
TRUNCATED = "truncated"
LEFT = "client_left"
LIMITED = "limited"
FAILED = "failed"


class Account:
    """From the moment when an endpoint is reached. `close` says how it ended; only the first one counts."""

    __slots__ = (
        "_caller",
        "_is_open",
        "_ledger",
        "_question",
        "_was_asked",
        "record",
        "reservation",
        "tally",
    )

    def __init__(self, *, ledger: Ledger, caller: Caller, endpoint: Endpoint, principal: Principal) -> None:
        self._ledger = ledger
        self._caller = caller
        self._question: Question | None = None
        self._is_open = True
        self._was_asked = False
        self.tally = Tally()
        self.reservation: Reservation | None = None
        self.record = Record(
            request_id=caller.request_id.decode(),
            at=time(),
            endpoint_id=endpoint.id,
            endpoint=endpoint.name,
            config_version=endpoint.config_version,
            principal_id=principal.id,
            principal=principal.email,
            task=endpoint.task.value,
            traceparent=caller.traceparent,
        )

    def read(self, question: Question) -> None:
        """This is asked."""
        self._question = question
        self.record.streamed = question.stream
        self.record.client_request_id = question.client_request_id
        self.record.usage_context = question.usage_context

    def turn_to(self, entity: Entity) -> None:
        """This entity is asked now."""
        self.record.entity = entity.name
        self.record.provider = entity.provider
        self.record.model = entity.model

    def asked(self) -> None:
        """A model has taken the question, so there are tokens to count."""
        self._was_asked = True

    def close(self, status: int, completeness: str = COMPLETE, *, code: str = "") -> None:
        """How it ended. `status` is what the caller gets to see."""
        if not self._is_open:
            return
        self._is_open = False
        record, tally, caller = self.record, self.tally, self._caller
        record.status = status
        record.completeness = completeness
        record.error_code = code
        if tally.reported:
            record.tokens_source = "reported"
            record.tokens_in, record.tokens_out = tally.tokens_in, tally.tokens_out
        elif self._was_asked and completeness != FAILED:
            record.tokens_source = "estimated"
            record.tokens_in = estimate(self._question.length if self._question is not None else 0)
            record.tokens_out = estimate(tally.heard)
        record.total_ms = caller.elapsed_ms()
        record.first_byte_ms = caller.first_byte_ms or record.total_ms
        record.overhead_ms = caller.overhead_ms()
        if self.reservation is not None:
            self.reservation.settle(record.tokens_in + record.tokens_out)
        self._ledger.note(record)
