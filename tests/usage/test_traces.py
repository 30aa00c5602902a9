"""Exported spans follow the semantic conventions, continue the caller's trace, and arrive at least once."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serving_ui import tasks
from serving_ui.lib import clock
from serving_ui.usage import tracing
from serving_ui.usage.models import Request
from tests.support.asgi_server import RunningServer, serve
from tests.support.product import CHAT_REQUEST, Product
from tests.support.slow_server import slow_server
from tests.support.waiting import wait_until
from tests.usage.conftest import Gateway

IngestAll = Callable[[], int]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass
class Collector:
    """Receives spans over HTTP, or refuses them."""

    spans: list[Any] = field(default_factory=list)
    status: int = 200
    server: RunningServer | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        content = b""
        more = True
        while more:
            message = await receive()
            content += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["path"] == "/v1/traces" and self.status == 200:
            self._keep(content, dict(scope["headers"]))
        await send(
            {"type": "http.response.start", "status": self.status, "headers": [(b"content-length", b"0")]}
        )
        await send({"type": "http.response.body", "body": b""})

    def _keep(self, content: bytes, headers: dict[bytes, bytes]) -> None:
        if headers.get(b"content-encoding") == b"gzip":
            content = gzip.decompress(content)
        for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def export(self) -> int:
        assert self.server
        return tracing.export(endpoint=self.server.url, now=clock.now())


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    with serve(made) as made.server:
        yield made


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_a_span_has_the_request_and_its_usage(gateway: Gateway, ingest_all: IngestAll, collector: Collector):
    apart = {"tokens_cached": 2, "tokens_cache_written": 1, "tokens_reasoning": 4}
    answer = {"usage_context": {"team": "a"}, "provider": "amazon-bedrock", "total_ms": 1500.0}
    gateway.record_requests("r-1", **answer, **apart)
    ingest_all()
    assert collector.export() == 1
    (span,) = collector.spans
    span_attributes = attributes(span)
    assert span.name == "chat gpt-4o"
    assert span.kind == 3  # client
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000_000
    assert span_attributes["gen_ai.operation.name"] == "chat"
    assert span_attributes["gen_ai.provider.name"] == "aws.bedrock"
    assert span_attributes["gen_ai.request.model"] == "gpt-4o"
    assert (span_attributes["gen_ai.usage.input_tokens"], span_attributes["gen_ai.usage.output_tokens"]) == (
        3,
        5,
    )
    assert span_attributes["gen_ai.usage.cache_read.input_tokens"] == 2
    assert span_attributes["gen_ai.usage.cache_creation.input_tokens"] == 1
    assert span_attributes["gen_ai.usage.reasoning.output_tokens"] == 4
    assert span_attributes["serving_ui.endpoint"] == "chat"
    assert span_attributes["serving_ui.request_id"] == "r-1"
    assert span_attributes["serving_ui.usage_context.team"] == "a"
    assert "error.type" not in span_attributes
    assert "gen_ai.request.stream" not in span_attributes


def test_a_row_with_the_largest_numbers_does_not_block_others(
    gateway: Gateway, ingest_all: IngestAll, collector: Collector
):
    figures = dict.fromkeys(("tokens_in", "tokens_out", "retries", "config_version"), 10**400)
    gateway.record_requests("largest", **figures, total_ms=1e300, first_byte_ms=1e300, overhead_ms=1e300)
    gateway.record_requests("next")
    ingest_all()
    assert collector.export() == 2
    assert {attributes(span)["serving_ui.request_id"] for span in collector.spans} == {"largest", "next"}


@pytest.mark.django_db(transaction=True)
def test_a_slow_collector_blocks_no_celery_thread(gateway: Gateway, ingest_all: IngestAll, settings: Any):
    gateway.record_requests("r-1")
    ingest_all()
    with slow_server() as slow:
        settings.OTLP_ENDPOINT = f"http://127.0.0.1:{slow.port}"
        for _ in range(8):
            tasks.export_traces()  # as many as in 40 s, and each is sent again
        slow.wait_for(1)
        assert slow.max_open == 1
    wait_until(
        lambda: not [each for each in threading.enumerate() if each.name == "traces"],
        what="the end of the export",
    )


def test_a_stream_is_marked_with_the_time_of_its_first_token(
    gateway: Gateway, ingest_all: IngestAll, collector: Collector
):
    gateway.record_requests("whole", streamed=True, first_byte_ms=250.0, total_ms=900.0)
    gateway.record_requests("refused", streamed=True, status=503, completeness="failed", first_byte_ms=30.0)
    ingest_all()
    collector.export()
    whole, refused = map(attributes, collector.spans)
    assert (whole["gen_ai.request.stream"], whole["gen_ai.response.time_to_first_chunk"]) == (True, 0.25)
    assert refused["gen_ai.request.stream"] is True
    assert "gen_ai.response.time_to_first_chunk" not in refused


def test_a_failed_query_is_an_error_span(gateway: Gateway, ingest_all: IngestAll, collector: Collector):
    gateway.record_requests(
        "a", status=503, completeness="failed", error_code="TEMPORARILY_UNAVAILABLE", tokens_source="none"
    )
    gateway.record_requests("b", status=200, completeness="truncated")
    ingest_all()
    collector.export()
    first, second = collector.spans
    assert attributes(first)["error.type"] == "TEMPORARILY_UNAVAILABLE"
    assert "gen_ai.usage.input_tokens" not in attributes(first)
    assert attributes(second)["error.type"] == "truncated"
    assert first.status.code == second.status.code == 2


def test_a_span_continues_the_callers_trace(gateway: Gateway, ingest_all: IngestAll, collector: Collector):
    gateway.record_requests("in a trace", traceparent=f"00-{TRACE}-{SPAN}-01")
    gateway.record_requests("not recorded", traceparent=f"00-{TRACE}-{SPAN}-00")
    gateway.record_requests("garbled", traceparent="00-zz-yy-01")
    gateway.record_requests("of nobody", traceparent=f"00-{'0' * 32}-{'0' * 16}-01")
    ingest_all()
    assert collector.export() == 4
    followed, garbled, nobodys = collector.spans
    assert (followed.trace_id.hex(), followed.parent_span_id.hex()) == (TRACE, SPAN)
    assert [attributes(each)["serving_ui.request_id"] for each in (garbled, nobodys)] == [
        "garbled",
        "of nobody",
    ]
    assert not garbled.parent_span_id
    assert len({each.span_id for each in collector.spans}) == 3


def test_each_row_is_sent_once(
    gateway: Gateway, ingest_all: IngestAll, collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tracing, "BATCH_SIZE", 2)
    gateway.record_requests(*"abcde")
    ingest_all()
    assert [collector.export(), collector.export()] == [5, 0]
    gateway.record_requests("f")
    ingest_all()
    assert collector.export() == 1
    assert [attributes(span)["serving_ui.request_id"] for span in collector.spans] == list("abcdef")


def test_spans_that_a_collector_refused_are_sent_again(
    gateway: Gateway, ingest_all: IngestAll, collector: Collector
):
    gateway.record_requests("a")
    ingest_all()
    collector.status = 400
    assert collector.export() == 0
    collector.status = 200
    assert collector.export() == 1
    assert len(collector.spans) == 1


def test_a_collector_that_was_away_for_long_is_not_flooded(
    gateway: Gateway, ingest_all: IngestAll, collector: Collector
):
    gateway.record_requests("old", "older", at=(clock.now() - timedelta(hours=2)).timestamp())
    gateway.record_requests("new")
    ingest_all()
    collector.export()
    assert [attributes(span)["serving_ui.request_id"] for span in collector.spans] == ["new"]
    assert Request.objects.count() == 3


@pytest.mark.slow
def test_a_query_with_a_trace_is_in_it_a_moment_later(collector: Collector, tmp_path: Path):
    """Tests the whole path: caller, gateway, spool, worker, collector."""
    assert collector.server
    with Product(tmp_path, SERVING_UI_OTLP_ENDPOINT=collector.server.url).up() as product:
        token = product.command("create_token", "owner@example.com")
        headers = {"Authorization": f"Bearer {token}", "traceparent": f"00-{TRACE}-{SPAN}-01"}
        address = f"{product.url}/serving-endpoints/sandbox-chat/invocations"

        def is_answered() -> bool:
            return requests.post(address, json=CHAT_REQUEST, headers=headers, timeout=60).status_code == 200

        wait_until(is_answered, what="the token to be known")
        wait_until(lambda: collector.spans, what="the span")
    span = collector.spans[0]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert attributes(span)["serving_ui.endpoint"] == "sandbox-chat"
