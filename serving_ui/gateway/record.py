"""What is known of one request when it has been answered: the row that usage counts. No bodies, no secrets.

Who fills it in is the gateway; who keeps it is a `Recorder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One request. Times of day are Unix seconds, durations milliseconds."""

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
    """The HTTP status that the caller got; 499 when the caller left before."""
    completeness: str = "complete"
    """complete, truncated (the provider stopped short), client_left, limited (refused by a limit) or failed (no answer of a model)."""
    error_code: str = ""
    streamed: bool = False
    tokens_in: int = 0
    tokens_out: int = 0
    """All of the input and all of the output, whatever the provider counts apart."""
    tokens_source: str = "none"
    """reported by the provider, estimated here, mixed (what it did not tell is estimated), or none when no model was asked."""
    tokens_cached: int = 0
    """Of the input: read from the provider's cache."""
    tokens_cache_written: int = 0
    """Of the input: written to the provider's cache."""
    tokens_reasoning: int = 0
    """Of the output: what the model thought."""
    first_byte_ms: float = 0.0
    total_ms: float = 0.0
    overhead_ms: float = 0.0
    retries: int = 0
    fallbacks: int = 0
    client_request_id: str = ""
    usage_context: Mapping[str, str] = {}
    traceparent: str = ""


class Recorder(Protocol):
    """Keeps records. `note` is called once for each request that was answered, before the last byte goes out."""

    def record(self, record: Record) -> None: ...


class NullRecorder:
    """Keeps nothing, for a gateway that nobody asks about its usage."""

    def record(self, record: Record) -> None:
        """Forget it."""
