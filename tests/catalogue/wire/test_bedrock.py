"""Compares our wire format for Bedrock with AWS's SDK: it accepts our bodies, sends the same requests, and reads the same streams.

Differences: the SDK sends no Accept to Converse, adds user-agent and amz-sdk headers, and takes bytes where JSON has base64.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
from botocore.config import Config

from serving_ui.catalogue.providers.amazon_bedrock import model_id
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import UnsupportedRequest
from serving_ui.catalogue.wire_format import Framing
from serving_ui.gateway.aws_event_stream import FrameSplitter
from tests.support import event_stream_frames
from tests.support.aws_signature import is_signed
from tests.support.recordings import RECORDINGS, Recording
from tests.support.vendor import Answer, Vendor, running_vendor

BEDROCK = [each for each in RECORDINGS if each.provider.name == "amazon-bedrock"]
KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "key-1"}
REGION = "us-east-1"


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as server:
        yield server


@pytest.fixture
def sdk(vendor: Vendor) -> Iterator[Any]:
    client = boto3.client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=vendor.url,
        config=Config(retries={"max_attempts": 0}),
        **KEYS,
    )
    yield client
    client.close()


def with_bytes(content: Any, *, convert: Any, name: str = "") -> Any:
    """The content with base64 texts as bytes, or the reverse."""
    if isinstance(content, dict):
        return {key: with_bytes(value, convert=convert, name=key) for key, value in content.items()}
    if isinstance(content, list):
        return [with_bytes(value, convert=convert) for value in content]
    return convert(content) if name in {"bytes", "redactedContent"} else content


def query(sdk: Any, recorded: Recording) -> Any:
    """Call the SDK with the recorded parameters."""
    _, _, model, action = recorded.request["path"].split("/")
    body = recorded.request["body"]
    if action == "invoke":
        return sdk.invoke_model(
            modelId=unquote(model),
            body=json.dumps(body),
            contentType="application/json",
            accept="application/json",
        )
    send = sdk.converse if action == "converse" else sdk.converse_stream
    return send(modelId=unquote(model), **with_bytes(body, convert=b64decode))


@pytest.mark.parametrize("recorded", BEDROCK, ids=str)
def test_the_sdk_sends_the_recorded_request(recorded: Recording, vendor: Vendor, sdk: Any):
    streamed = recorded.chunks is not None
    vendor.set_answers(
        Answer.stream(recorded.stream(), kind=event_stream_frames.CONTENT_TYPE)
        if streamed
        else Answer.json(recorded.reply)
    )
    answer = query(sdk, recorded)
    if streamed:
        list(answer["stream"])
    (request,) = vendor.requests
    assert (request.method, request.path) == ("POST", recorded.request["path"])
    assert request.json == recorded.request["body"]
    assert request.headers["content-type"] == recorded.request["headers"]["content-type"]
    assert is_signed(request, key_id="AKIDEXAMPLE", secret="key-1", region=REGION, service="bedrock")


@pytest.mark.parametrize("recorded", [each for each in BEDROCK if each.answer], ids=str)
def test_the_sdk_reads_the_recorded_replies(recorded: Recording, vendor: Vendor, sdk: Any):
    vendor.set_answers(Answer.json(recorded.reply))
    answer = query(sdk, recorded)
    if recorded.task is Task.EMBEDDINGS:
        assert json.loads(answer["body"].read()) == recorded.reply
        return
    del answer["ResponseMetadata"]
    assert with_bytes(answer, convert=lambda content: b64encode(content).decode()) == recorded.reply


@pytest.mark.parametrize("recorded", [each for each in BEDROCK if each.chunks], ids=str)
def test_the_sdk_reads_the_recorded_events(recorded: Recording, vendor: Vendor, sdk: Any):
    vendor.set_answers(Answer.stream(recorded.stream(), kind=event_stream_frames.CONTENT_TYPE))
    events = [next(iter(each.items())) for each in query(sdk, recorded)["stream"]]
    read = [
        (name, with_bytes(data, convert=lambda content: b64encode(content).decode())) for name, data in events
    ]
    # Bedrock pads its events with a field `p`, which the SDK drops as it drops the response before the first event.
    written = [
        (each.name, {name: value for name, value in each.data.items() if name != "p"})
        for each in recorded.events()
        if each.name != "initial-response"
    ]
    assert read == written


@pytest.mark.parametrize("effort", ["minimal", "max", ["low"]])
def test_nova_has_its_own_reasoning_efforts(effort: Any):
    (recorded,) = [each for each in BEDROCK if each.path.stem == "thinking-of-nova"]
    with pytest.raises(UnsupportedRequest, match="reasoning_effort"):
        recorded.build_request({**recorded.openai_request, "reasoning_effort": effort})


def test_only_claude_supports_disabling_parallel_tool_calls():
    (recorded,) = [each for each in BEDROCK if each.path.stem == "tool-calls"]
    with pytest.raises(UnsupportedRequest, match="parallel_tool_calls"):
        recorded.build_request({**recorded.openai_request, "parallel_tool_calls": False})


@pytest.mark.parametrize("recorded", [each for each in BEDROCK if each.chunks], ids=str)
def test_frames_are_decoded_into_the_recorded_events(recorded: Recording):
    assert recorded.wire_format.framing is Framing.AWS
    splitter = FrameSplitter()
    read = [(name.decode(), json.loads(data)) for name, data in splitter.feed(recorded.stream())]
    assert read == [(each.name, each.data) for each in recorded.events()]
    assert splitter.finish() == []


@pytest.mark.parametrize(
    ("model", "maker", "known"),
    [
        ("claude-v2", "anthropic", "anthropic.claude-v2"),
        ("j2-ultra-v1", "ai21labs", "ai21.j2-ultra-v1"),
        ("titan-embed-g1-text-02", "amazon", "amazon.titan-embed-g1-text-02"),
        ("grok-4.1-fast", "grok", "xai.grok-4.1-fast"),
        ("cohere.command-r-v1:0", "cohere", "cohere.command-r-v1:0"),
        (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "anthropic",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            "us-gov.anthropic.claude-3-haiku-20240307-v1:0",
            "anthropic",
            "us-gov.anthropic.claude-3-haiku-20240307-v1:0",
        ),
        ("global.anthropic.claude-opus-4-5-v1:0", "anthropic", "global.anthropic.claude-opus-4-5-v1:0"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/a1b2c3d4e5f6",
            "cohere",
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/a1b2c3d4e5f6",
        ),
    ],
)
def test_the_maker_is_added_to_a_model_name_without_it(model: str, maker: str, known: str):
    assert model_id(model, maker) == known
