"""The recordings of tests/catalogue through a running gateway, with a server in the place of the vendor."""

from __future__ import annotations

import json
from threading import Event
from typing import Any

import pytest
import requests

from tests.gateway.conftest import GatewayServer
from tests.support.recordings import WITH_REPLY, WITH_STREAM, Recording
from tests.support.vendor import Answer, Vendor


def add_endpoint(gateway: GatewayServer, vendor: Vendor, recorded: Recording) -> None:
    vendor.set_answers(Answer.json({"access_token": "token", "expires_in": 3600}), at="/token")  # Google's
    gateway.add_endpoint(
        vendor,
        provider=recorded.provider.name,
        model=recorded.model,
        config=recorded.config(vendor.url),
        task=recorded.task,
    )


def comparable(content: dict[str, Any]) -> dict[str, Any]:
    """The answer without the id and the time that the gateway adds if they are missing."""
    return {name: value for name, value in content.items() if name not in {"id", "created"}}


def assert_received(vendor: Vendor, recorded: Recording) -> None:
    request = vendor.requests[-1]
    assert (request.method, request.path) == ("POST", recorded.request["path"])
    assert request.json == recorded.request["body"]


def chunks_of(answer: requests.Response) -> list[dict[str, Any]]:
    lines = [line for line in answer.content.decode().split("\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


@pytest.mark.parametrize("recorded", WITH_REPLY, ids=str)
def test_a_recorded_request_and_its_answer(gateway: GatewayServer, vendor: Vendor, recorded: Recording):
    assert recorded.answer is not None
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(Answer.json(recorded.reply), at=recorded.request["path"])
    answer = gateway.query("vendor", recorded.openai_request)
    assert answer.status_code == 200, answer.text
    assert_received(vendor, recorded)
    assert comparable(answer.json()) == comparable(recorded.answer)


def with_extra_params(openai_request: dict[str, Any]) -> dict[str, Any]:
    """The same request, with all optional parameters in `extra_params`."""
    stays = {"messages", "prompt", "input", "stream"}
    extra = {name: value for name, value in openai_request.items() if name not in stays}
    return {name: openai_request[name] for name in stays & openai_request.keys()} | {
        "extra_params": {**extra.pop("extra_params", {}), **extra}
    }


@pytest.mark.parametrize(
    "recorded",
    [each for each in (*WITH_REPLY, *WITH_STREAM) if each.wire_format.translate_response or each.chunks],
    ids=str,
)
def test_parameters_in_extra_params_have_the_same_effect(
    gateway: GatewayServer, vendor: Vendor, recorded: Recording
):
    add_endpoint(gateway, vendor, recorded)
    streamed = recorded.chunks is not None
    vendor.set_answers(
        Answer.stream(recorded.stream(), kind=recorded.content_type)
        if streamed
        else Answer.json(recorded.reply),
        at=recorded.request["path"],
    )
    plain, extra = (
        gateway.query("vendor", openai_request)
        for openai_request in (recorded.openai_request, with_extra_params(recorded.openai_request))
    )
    if streamed:
        assert [comparable(each) for each in chunks_of(plain)] == [
            comparable(each) for each in chunks_of(extra)
        ]
    else:
        assert comparable(plain.json()) == comparable(extra.json())


@pytest.mark.parametrize("recorded", WITH_STREAM, ids=str)
def test_a_recorded_request_and_its_stream(gateway: GatewayServer, vendor: Vendor, recorded: Recording):
    assert recorded.chunks is not None
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(
        Answer.stream(recorded.stream(), kind=recorded.content_type), at=recorded.request["path"]
    )
    wanted = (recorded.openai_request.get("stream_options") or {}).get("include_usage")
    answer = gateway.query("vendor", recorded.openai_request)
    assert answer.status_code == 200, answer.text
    assert_received(vendor, recorded)
    chunks = chunks_of(answer)
    assert [comparable(each) for each in chunks] == [
        comparable(each) for each in recorded.chunks if each["choices"] or wanted
    ]
    assert len({each["id"] for each in chunks}) == 1


COUNTED = [
    each
    for each in WITH_STREAM
    if each.wire_format.stream_translator and each.chunks and not each.chunks[-1]["choices"]
]


@pytest.mark.parametrize("recorded", COUNTED, ids=str)
def test_a_stream_ends_with_its_counts_although_the_vendor_leaves_the_connection_open(
    gateway: GatewayServer, vendor: Vendor, recorded: Recording
):
    add_endpoint(gateway, vendor, recorded)
    closes = Event()
    vendor.set_answers(
        Answer.stream(
            recorded.stream().removesuffix(b"data: [DONE]\n\n"), closes, kind=recorded.content_type
        ),
        at=recorded.request["path"],
    )
    answer = gateway.query("vendor", recorded.openai_request)
    closes.set()
    assert chunks_of(answer)
