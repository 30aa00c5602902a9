"""Builds an OpenTelemetry span for each request, following the conventions for generative AI.

Read in November 2026: "Semantic conventions for generative client AI spans" (docs/gen-ai/gen-ai-spans.md of
open-telemetry/semantic-conventions-genai), whose status is *Development*: names may change. Attributes
that the conventions do not define begin with `serving_ui.`. A span holds neither prompts nor answers.
"""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import sha256

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from serving_ui.usage.models import Request

_OPERATIONS = {
    "llm/v1/chat": "chat",
    "llm/v1/completions": "text_completion",
    "llm/v1/embeddings": "embeddings",
}
_PROVIDERS = {"amazon-bedrock": "aws.bedrock", "google-cloud-vertex-ai": "gcp.vertex_ai"}
_PARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_RESOURCE = Resource({"service.name": "serving-ui"})
_SCOPE = InstrumentationScope("serving_ui.gateway")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def build_span(row: Request) -> ReadableSpan | None:
    """None if the caller's trace is not sampled. Ids are derived from the row, so sending a span twice is harmless."""
    parent = _parent(row.traceparent)
    if parent is not None and not parent.trace_flags.sampled:
        return None
    seed = sha256(f"{row.file_id} {row.number} {row.request_id}".encode()).digest()
    trace = parent.trace_id if parent else int.from_bytes(seed[:16])
    context = SpanContext(trace, int.from_bytes(seed[16:24]), is_remote=False, trace_flags=_SAMPLED)
    operation = _OPERATIONS.get(row.task, row.task)
    began = _nanoseconds(row.at)
    return ReadableSpan(
        name=f"{operation} {row.model}".strip(),
        context=context,
        parent=parent,
        resource=_RESOURCE,
        attributes=_attributes(row, operation),
        kind=SpanKind.CLIENT,
        status=Status(
            StatusCode.UNSET if row.status < 400 and row.completeness == "complete" else StatusCode.ERROR
        ),
        start_time=began,
        end_time=began + round(row.total_ms * 1_000_000),
        instrumentation_scope=_SCOPE,
    )


def _parent(traceparent: str) -> SpanContext | None:
    found = _PARENT.fullmatch(traceparent.strip().lower())
    if found is None:
        return None
    context = SpanContext(
        int(found["trace"], 16),
        int(found["span"], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found["flags"], 16)),
    )
    return context if context.is_valid else None


def _attributes(row: Request, operation: str) -> dict[str, str | int | float]:
    attributes: dict[str, str | int | float] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDERS.get(row.provider, row.provider),
        "gen_ai.request.model": row.model,
        "http.response.status_code": row.status,
        "serving_ui.endpoint": row.endpoint,
        "serving_ui.served_entity": row.entity,
        "serving_ui.config_version": row.config_version,
        "serving_ui.principal_id": row.principal_id,
        "serving_ui.request_id": row.request_id,
        "serving_ui.client_request_id": row.client_request_id,
        "serving_ui.completeness": row.completeness,
        "serving_ui.first_byte_ms": row.first_byte_ms,
        "serving_ui.overhead_ms": row.overhead_ms,
        "serving_ui.retries": row.retries,
        "serving_ui.fallbacks": row.fallbacks,
        **{f"serving_ui.usage_context.{name}": value for name, value in row.usage_context.items()},
    }
    if row.tokens_source != "none":
        attributes["gen_ai.usage.input_tokens"] = row.tokens_in
        attributes["gen_ai.usage.output_tokens"] = row.tokens_out
        attributes["serving_ui.tokens_source"] = row.tokens_source
        parts = {
            "gen_ai.usage.cache_read.input_tokens": row.tokens_cached,
            "gen_ai.usage.cache_creation.input_tokens": row.tokens_cache_written,
            "gen_ai.usage.reasoning.output_tokens": row.tokens_reasoning,
        }
        attributes |= {name: count for name, count in parts.items() if count}
    if row.streamed:  # the conventions define it for streams only
        attributes["gen_ai.request.stream"] = True
        if row.first_byte_ms < row.total_ms:
            attributes["gen_ai.response.time_to_first_chunk"] = row.first_byte_ms / 1000
    if row.status >= 400 or row.completeness != "complete":
        attributes["error.type"] = row.error_code or row.completeness
    return {name: value for name, value in attributes.items() if value != ""}


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
