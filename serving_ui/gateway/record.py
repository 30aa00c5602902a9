"""The usage record of one answered query: no bodies, no secrets. The gateway fills it in, a `Recorder` stores it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

STATUS_CLIENT_CLOSED_REQUEST = 499
"""Recorded if the caller disconnected before its answer; never sent. nginx records the same status under this name."""

COMPLETE = "complete"
TRUNCATED = "truncated"
"""The provider's answer ended early, after its beginning had been sent to the caller."""
CLIENT_LEFT = "client_left"
LIMITED = "limited"
"""Refused by a rate limit."""
FAILED = "failed"
"""No model answered."""


class Record(NamedTuple):
    """Names and order of the fields are those of the spool's lines and of the usage rows. `at` is in Unix seconds, `…_ms` in milliseconds."""

    request_id: str
    at: float
    endpoint_id: str = ""
    endpoint: str = ""
    entity: str = ""
    config_version: int = 0
    principal_id: str = ""
    principal: str = ""
    task: str = ""
    provider: str = ""
    model: str = ""
    status: int = 0
    """The HTTP status that the caller got, or STATUS_CLIENT_CLOSED_REQUEST."""
    completeness: str = COMPLETE
    """One of the constants above."""
    error_code: str = ""
    streamed: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    """All of the input and all of the output, including the parts below."""
    tokens_source: str = "none"
    """reported (by the provider), estimated (by the gateway), mixed (both), or none (no model was asked)."""
    tokens_cached: int = 0
    """Of the input: read from the provider's cache."""
    tokens_cache_written: int = 0
    """Of the input: written to the provider's cache."""
    tokens_reasoning: int = 0
    """Of the output: the model's reasoning."""
    first_byte_ms: float = 0.0
    total_ms: float = 0.0
    overhead_ms: float = 0.0
    """The gateway's own time, until the first byte of the answer."""
    retries: int = 0
    fallbacks: int = 0
    client_request_id: str = ""
    usage_context: Mapping[str, str] = {}
    traceparent: str = ""


class Recorder(Protocol):
    """Stores records. `record` is called once for each answered query, before the last byte of the answer is sent."""

    def record(self, record: Record) -> None: ...


class NullRecorder:
    """Stores nothing, for a gateway without usage."""

    def record(self, record: Record) -> None:
        """Ignore it."""
