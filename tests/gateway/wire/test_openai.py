"""The openai SDK as the reference: without a gateway it sends a host the same requests as the gateway does, and reads the same answers.

Named differences: the gateway asks for the usage of a stream where that is safe, and leaves the model out of what it sends Azure,
where the deployment stands in the address.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from serving_ui.catalogue.tasks import Task
from tests.gateway.conftest import GatewayServer
from tests.gateway.wire.test_recordings import add_endpoint, comparable
from tests.support.recordings import RECORDINGS, WITH_REPLY, WITH_STREAM, Recording
from tests.support.vendor import Answer, Received, Vendor

GATEWAY_FIELDS = frozenset({"model", "extra_params", "client_request_id", "usage_context"})
OPENAI = [each for each in RECORDINGS if each.provider.name == "openai"]
STREAMS = {each.path.stem: each for each in OPENAI if each.chunks is not None}
WITHOUT_STREAM_OPTIONS = frozenset({"stream-of-another-host", "azure-stream-of-older-versions"})
"""Streams of hosts that may refuse `stream_options`."""


@pytest.fixture
def client(gateway: GatewayServer) -> Iterator[openai.OpenAI]:
    base = f"{gateway.url}/serving-endpoints"
    with openai.OpenAI(base_url=base, api_key="token-owner", max_retries=0) as made:
        yield made


def direct(recorded: Recording, vendor: Vendor) -> openai.OpenAI:
    """The SDK configured for the host of the recording, without a gateway."""
    block: Any = recorded.config(vendor.url)
    if block.openai_api_type == "openai":
        base = (block.openai_api_base or f"{vendor.url}/v1").rstrip("/")
        return openai.OpenAI(
            base_url=base, api_key="key-1", organization=block.openai_organization, max_retries=0
        )
    token = "token" if block.openai_api_type == "azuread" else None
    return openai.AzureOpenAI(
        azure_endpoint=vendor.url,
        azure_deployment=block.openai_deployment_name,
        api_version=block.openai_api_version,
        api_key=None if token else "key-1",
        azure_ad_token=token,
        max_retries=0,
    )


def call_sdk(
    client: openai.OpenAI, recorded: Recording, *, model: str, openai_request: dict[str, Any]
) -> Any:
    """Parameters that the SDK does not know are sent as extra_body. A stream is read to its end."""
    methods: dict[Task, Callable[..., Any]] = {
        Task.CHAT: client.chat.completions.create,
        Task.COMPLETIONS: client.completions.create,
        Task.EMBEDDINGS: client.embeddings.create,
    }
    create = methods[recorded.task]
    known = inspect.signature(create).parameters.keys()
    extra = {name: value for name, value in openai_request.items() if name not in known}
    read = create(
        model=model,
        extra_body=extra,
        **{name: openai_request[name] for name in openai_request.keys() & known},
    )
    if not openai_request.get("stream"):
        return read.to_dict(
            warnings=False
        )  # requested base64 does not match the SDK's type, a list of numbers
    return [chunk.to_dict() for chunk in read]


def answer(recorded: Recording) -> Answer:
    if recorded.chunks is None:
        return Answer.json(recorded.reply)
    return Answer.stream(recorded.stream(), kind=recorded.content_type)


def sent_headers(request: Received) -> dict[str, str]:
    """The headers for authentication and content."""
    names = ("authorization", "api-key", "openai-organization", "content-type")
    return {name: request.headers[name] for name in names if name in request.headers}


@pytest.mark.parametrize("recorded", OPENAI, ids=str)
def test_the_gateway_sends_the_same_request_as_the_sdk(
    recorded: Recording, gateway: GatewayServer, vendor: Vendor, client: openai.OpenAI
):
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(answer(recorded), at=recorded.request["path"])
    openai_request = {
        name: value for name, value in recorded.openai_request.items() if name not in GATEWAY_FIELDS
    }
    read = call_sdk(direct(recorded, vendor), recorded, model=recorded.model, openai_request=openai_request)
    passed = call_sdk(client, recorded, model="vendor", openai_request=openai_request)
    theirs, ours = vendor.requests[0], vendor.requests[-1]
    assert (theirs.method, theirs.path, sent_headers(theirs)) == (ours.method, ours.path, sent_headers(ours))
    body = dict(theirs.json)
    if "azure" in str(recorded) or "entra" in str(recorded):
        del body["model"]
    if recorded.path.stem in STREAMS.keys() - WITHOUT_STREAM_OPTIONS:
        body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
    assert ours.json == body
    wanted = (recorded.openai_request.get("stream_options") or {}).get("include_usage")
    shown = [each for each in read if each["choices"] or wanted] if isinstance(read, list) else read
    assert passed == shown


@pytest.mark.parametrize("recorded", STREAMS.values(), ids=str)
def test_usage_is_counted_and_sent_only_to_callers_that_request_it(
    recorded: Recording, gateway: GatewayServer, vendor: Vendor, client: openai.OpenAI
):
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(answer(recorded), at=recorded.request["path"])
    chunks = call_sdk(client, recorded, model="vendor", openai_request=recorded.openai_request)
    wanted = (recorded.openai_request.get("stream_options") or {}).get("include_usage") is True
    assert [chunk for chunk in chunks if not chunk["choices"] or chunk.get("usage")] == chunks[-1:] * wanted
    record = gateway.usage.last
    if recorded.path.stem in WITHOUT_STREAM_OPTIONS:
        assert record.tokens_source == "estimated"
    else:
        assert recorded.chunks is not None
        counts = recorded.chunks[-1]["usage"]
        assert record.tokens_source == "reported"
        assert (record.tokens_in, record.tokens_out) == (
            counts["prompt_tokens"],
            counts["completion_tokens"],
        )


@pytest.mark.parametrize("recorded", WITH_REPLY, ids=str)
def test_the_sdk_reads_the_answer_of_every_provider(
    recorded: Recording, gateway: GatewayServer, vendor: Vendor, client: openai.OpenAI
):
    """By default the SDK requests embeddings in base64 and decodes them."""
    assert recorded.answer is not None
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(answer(recorded), at=recorded.request["path"])
    read = call_sdk(client, recorded, model="vendor", openai_request=without(recorded, "model"))
    assert comparable(read) == comparable(recorded.answer)


@pytest.mark.parametrize("recorded", WITH_STREAM, ids=str)
def test_the_sdk_reads_the_stream_of_every_provider(
    recorded: Recording, gateway: GatewayServer, vendor: Vendor, client: openai.OpenAI
):
    assert recorded.chunks is not None
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(answer(recorded), at=recorded.request["path"])
    options = {**(recorded.openai_request.get("stream_options") or {}), "include_usage": True}
    openai_request = {**without(recorded, "model"), "stream_options": options}
    assert [
        comparable(each) for each in call_sdk(client, recorded, model="vendor", openai_request=openai_request)
    ] == [comparable(each) for each in recorded.chunks]


VECTORS = {
    each.provider.name: each
    for each in WITH_REPLY
    if each.task is Task.EMBEDDINGS and each.path.stem == "embeddings-base64"
}


@pytest.mark.parametrize("recorded", VECTORS.values(), ids=str)
def test_the_sdk_requests_embeddings_in_base64_by_default(
    recorded: Recording, gateway: GatewayServer, vendor: Vendor, client: openai.OpenAI
):
    add_endpoint(gateway, vendor, recorded)
    vendor.set_answers(answer(recorded), at=recorded.request["path"])
    read = client.embeddings.create(model="vendor", input=recorded.openai_request["input"])
    (vector,) = read.data
    assert vector.embedding == [0.5, -1]


def without(recorded: Recording, name: str) -> dict[str, Any]:
    return {each: value for each, value in recorded.openai_request.items() if each != name}
