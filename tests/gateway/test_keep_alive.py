"""Keep-alives: while a provider sends only pings, the gateway sends keep-alives to the caller, in a form that its client accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from langchain_openai import ChatOpenAI

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import Addresses
from serving_ui.gateway import relay
from serving_ui.gateway.snapshot import Entity
from tests.gateway.conftest import CHAT, GatewayServer, endpoint, entity
from tests.gateway.test_records import DONE, END, chunk
from tests.gateway.test_responses import BEGIN, DELTA
from tests.gateway.test_responses import END as LAST
from tests.support.raw_server import RawServer, raw_server

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of the clients
STREAM = {**CHAT, "stream": True}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
COMMENT = b": ping\n\n"
FILLER = b"data: : keepalive\n\n"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
BLANK, KEEP_ALIVE = b"\n\n", b": keep-alive\n\n"
TOKEN = "token-owner"


@pytest.fixture(autouse=True)
def short_keep_alive_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of 15 s; a RawServer sends a part every sixth of a second."""
    monkeypatch.setattr(relay, "KEEP_ALIVE_SECONDS", 0.1)


@pytest.fixture
def thinker(gateway: GatewayServer) -> Iterator[RawServer]:
    """A server behind the endpoints `thinker` and `thinker-text`, and as Anthropic behind `claude`."""
    with raw_server() as server:
        config = PROVIDERS["anthropic"].config.model_validate(
            {"anthropic_api_key": Secret.from_plaintext("sk-ant")}
        )
        gateway.publish(
            endpoint("thinker", entity(base=server.url)),
            endpoint("thinker-text", entity(base=server.url, task=Task.COMPLETIONS)),
            endpoint("claude", Entity("entity-1", "anthropic", "claude", Task.CHAT, config)),
            addresses=Addresses({"anthropic": server.url}),
        )
        yield server


def stream(*parts: bytes, whole: bool = True) -> tuple[bytes, ...]:
    """The chunks of a chunked body, each of which a RawServer sends by itself; without `whole` the last chunk is missing."""
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
    return (*chunks, b"0\r\n\r\n") if whole else tuple(chunks)


def count_keep_alives(whole: bytes, *, before: bytes, form: bytes, after: bytes) -> int:
    """The number of keep-alives between `before` and `after`. Fails if there is anything else."""
    between = whole.removeprefix(before).removesuffix(after)
    assert before + between + after == whole
    assert between == form * (len(between) // len(form))
    return len(between) // len(form)


paths = pytest.mark.parametrize(
    ("path", "form"),
    [
        ("chat/completions", KEEP_ALIVE),
        ("thinker/invocations", BLANK),
        ("thinker/served-models/entity-1/invocations", BLANK),
    ],
)


@paths
@pytest.mark.parametrize("ping", [COMMENT, FILLER, b"event: ping\n\n"], ids=["comment", "filler", "no data"])
def test_pings_between_events_are_passed_on(
    gateway: GatewayServer, thinker: RawServer, ping: bytes, path: str, form: bytes
):
    thinker.answer(HEAD, later=stream(chunk("a"), *[ping] * 6, chunk("b") + END + DONE))
    answer = gateway.post(path, {**STREAM, "model": "thinker"})
    count = count_keep_alives(answer.content, before=chunk("a"), form=form, after=chunk("b") + END + DONE)
    assert 2 <= count <= 6


def test_pings_within_the_interval_are_not_passed_on(
    gateway: GatewayServer, thinker: RawServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(relay, "KEEP_ALIVE_SECONDS", 60.0)
    thinker.answer(HEAD, later=stream(chunk("a"), *[COMMENT] * 6, END + DONE))
    assert gateway.query("thinker", STREAM).content == chunk("a") + END + DONE


def test_no_keep_alive_is_sent_while_the_provider_is_silent(gateway: GatewayServer, thinker: RawServer):
    silent = (stream(chunk("a"))[0], b"", b"", b"", b"", *stream(END + DONE))
    thinker.answer(HEAD, later=silent)
    assert gateway.query("thinker", STREAM).content == chunk("a") + END + DONE


def test_pings_of_anthropic_are_passed_on(gateway: GatewayServer, thinker: RawServer):
    message_start = {
        "type": "message_start",
        "message": {"id": "m", "model": "claude", "usage": {"input_tokens": 3}},
    }
    start = f"event: message_start\ndata: {json.dumps(message_start)}\n\n".encode()
    stop = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}\n\n'
    stop += b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    thinker.answer(HEAD, later=stream(start, *[PING] * 6, stop))
    events = gateway.query("claude", STREAM).content
    assert events.count(BLANK * 2) >= 2
    assert events.endswith(DONE)


def test_pings_before_the_first_event_begin_the_stream(gateway: GatewayServer, thinker: RawServer):
    """A load balancer would cut a connection that gets no response head for long."""
    thinker.answer(HEAD, later=stream(*[COMMENT] * 6, chunk("a") + END + DONE))
    with gateway.query("thinker", STREAM, stream=True) as answer:
        assert answer.headers["served-model-name"] == "entity-1"
        content = answer.content
    assert 2 <= count_keep_alives(content, before=b"", form=BLANK, after=chunk("a") + END + DONE) <= 6
    assert gateway.usage.last.completeness == "complete"


def test_a_failure_after_pings_were_passed_on_is_an_error_event(gateway: GatewayServer, thinker: RawServer):
    thinker.answer(HEAD, later=stream(*[COMMENT] * 6, whole=False))
    answer = gateway.query("thinker", STREAM)
    assert answer.status_code == 200
    assert (
        json.loads(answer.content.strip().removeprefix(b"data: "))["error_code"] == "TEMPORARILY_UNAVAILABLE"
    )
    assert gateway.usage.last.completeness == "truncated"


def test_a_failure_before_a_ping_is_passed_on_is_an_error_status(
    gateway: GatewayServer, thinker: RawServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(relay, "KEEP_ALIVE_SECONDS", 60.0)
    thinker.answer(HEAD, later=stream(*[COMMENT] * 3, whole=False))
    assert gateway.query("thinker", STREAM).status_code == 503


# Client libraries.

PAUSED = stream(*[COMMENT] * 4, chunk("Hel"), *[COMMENT] * 4, chunk("lo") + END + DONE)


@pytest.fixture
def client(gateway: GatewayServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/serving-endpoints", api_key=TOKEN, max_retries=0)


def test_the_openai_client_reads_a_chat_stream_with_pings(thinker: RawServer, client: openai.OpenAI):
    thinker.answer(HEAD, later=PAUSED)
    messages: Any = CHAT["messages"]
    chunks = list(client.chat.completions.create(model="thinker", messages=messages, stream=True))
    assert [each.choices[0].delta.content for each in chunks] == ["Hel", "lo", None]


def test_the_openai_client_reads_a_completion_stream_with_pings(thinker: RawServer, client: openai.OpenAI):
    text_event = b'data: {"choices": [{"index": 0, "text": "Once", "finish_reason": "stop"}]}\n\n'
    thinker.answer(HEAD, later=stream(*[COMMENT] * 4, text_event, *[COMMENT] * 4, DONE))
    pieces = client.completions.create(model="thinker-text", prompt="x", stream=True)
    assert [each.choices[0].text for each in pieces] == ["Once"]


def test_the_openai_client_reads_a_responses_stream_with_pings(thinker: RawServer, client: openai.OpenAI):
    thinker.answer(HEAD, later=stream(*[COMMENT] * 4, BEGIN, *[COMMENT] * 4, DELTA, LAST))
    events = client.responses.create(model="thinker", input="x", stream=True)
    assert [each.type for each in events] == [
        "response.created",
        "response.output_text.delta",
        "response.completed",
    ]


def test_langchain_reads_a_stream_with_pings(gateway: GatewayServer, thinker: RawServer):
    thinker.answer(HEAD, later=PAUSED)
    options: Any = {"model": "thinker", "base_url": f"{gateway.url}/serving-endpoints", "api_key": TOKEN}
    assert "".join(str(each.content) for each in ChatOpenAI(**options).stream("x")) == "Hello"


def test_the_client_of_the_databricks_sdk_reads_a_stream_with_pings(
    gateway: GatewayServer, thinker: RawServer
):
    thinker.answer(HEAD, later=PAUSED)
    workspace = WorkspaceClient(config=Config(host=gateway.url, token=TOKEN))
    made: Any = workspace.serving_endpoints.get_open_ai_client(max_retries=0)
    chunks = made.chat.completions.create(model="thinker", messages=CHAT["messages"], stream=True)
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == "Hello"


@pytest.mark.parametrize("events", [PAUSED, PAUSED[:4]], ids=["good", "cut"])
def test_the_mlflow_client_reads_a_stream_with_pings(
    gateway: GatewayServer,
    thinker: RawServer,
    monkeypatch: pytest.MonkeyPatch,
    events: tuple[bytes, ...],
):
    from mlflow.deployments import get_deploy_client

    monkeypatch.setenv("DATABRICKS_HOST", gateway.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    thinker.answer(HEAD, later=events)
    chunks = list(get_deploy_client("databricks").predict_stream(endpoint="thinker", inputs=CHAT))
    if events is PAUSED:
        assert [each["choices"][0]["delta"].get("content") for each in chunks] == ["Hel", "lo", None]
    else:
        assert [each["error_code"] for each in chunks] == ["TEMPORARILY_UNAVAILABLE"]
