"""What every vendor is sent, and what becomes of its answers and streams. The recordings are data; see tests/support/recordings.py."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import UnsupportedRequest
from tests.support.recordings import RECORDINGS, REFUSED, VENDOR, WITH_REPLY, WITH_STREAM, Recording, Refusal

STAYS = frozenset({"messages", "prompt", "input", "stream"})
"""What a question must have in its own body."""
UNRECORDED = {"palm": "refuses every question", "sandbox": "is asked for real by the gateway's tests"}


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda each: each.name)
def test_a_provider_speaks_every_task_that_it_has(provider: Provider):
    assert provider.wire_formats.keys() == set(provider.tasks)
    if provider.name not in UNRECORDED:
        recorded = [each for each in RECORDINGS if each.provider is provider]
        streaming = {each.task for each in recorded if each.chunks is not None}
        assert {each.task for each in recorded if each.answer is not None} == set(provider.tasks)
        assert streaming == set(provider.tasks) - {Task.EMBEDDINGS}


@pytest.mark.parametrize("recorded", RECORDINGS, ids=str)
def test_the_vendor_is_sent_what_its_documentation_asks_for(recorded: Recording):
    request = recorded.build_request()
    parts = urlsplit(request.url)
    sent = {name.lower(): value for name, value in request.headers}
    assert request.method == "POST"
    assert request.url.startswith(VENDOR)
    assert parts.path + (f"?{parts.query}" if parts.query else "") == recorded.request["path"]
    assert json.loads(request.body or b"") == recorded.request["body"]
    assert {name: sent.get(name) for name in recorded.request["headers"]} == recorded.request["headers"]


@pytest.mark.parametrize("recorded", RECORDINGS, ids=str)
def test_a_parameter_means_the_same_among_the_extra_ones(recorded: Recording):
    required = {name: value for name, value in recorded.openai_request.items() if name in STAYS}
    extra = {name: value for name, value in recorded.openai_request.items() if name not in STAYS}
    merged = {**extra.pop("extra_params", {}), **extra}
    request = recorded.build_request({**required, "extra_params": merged})
    assert json.loads(request.body or b"") == recorded.request["body"]


@pytest.mark.parametrize("recorded", WITH_REPLY, ids=str)
def test_the_vendors_answer_becomes_an_openai_shaped_one(recorded: Recording):
    reply = recorded.wire_format.translate_response
    assert (reply(recorded.reply, recorded.context) if reply else recorded.reply) == recorded.answer


TRANSLATED = [each for each in WITH_STREAM if each.wire_format.stream_translator is not None]


@pytest.mark.parametrize("recorded", TRANSLATED, ids=str)
def test_the_vendors_stream_becomes_openai_shaped_chunks(recorded: Recording):
    assert recorded.wire_format.stream_translator is not None
    translator = recorded.wire_format.stream_translator(recorded.context)
    chunks = []
    for event in recorded.events():
        chunks += translator.take(event)
    assert chunks == recorded.chunks
    assert translator.finished


@pytest.mark.parametrize("recorded", [each for each in WITH_STREAM if each.task is Task.CHAT], ids=str)
def test_openais_client_gathers_the_chunks(recorded: Recording):
    assert recorded.chunks is not None
    state = ChatCompletionStreamState()
    for chunk in recorded.chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    deltas = [choice for each in recorded.chunks for choice in each["choices"]]
    for gathered in state.current_completion_snapshot.choices:
        texts = [each["delta"].get("content") or "" for each in deltas if each["index"] == gathered.index]
        assert (gathered.message.content or "") == "".join(texts)
        assert gathered.finish_reason
        for call in gathered.message.tool_calls or ():
            assert isinstance(json.loads(call.function.arguments), dict)


@pytest.mark.parametrize("recorded", TRANSLATED, ids=str)
def test_a_stream_that_lacks_its_second_half_is_not_finished(recorded: Recording):
    assert recorded.wire_format.stream_translator is not None
    translator = recorded.wire_format.stream_translator(recorded.context)
    events = recorded.events()
    for event in events[: len(events) // 2]:
        translator.take(event)
    assert not translator.finished


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_what_the_vendor_cannot_do_is_refused_with_the_parameters_name(refusal: Refusal):
    recorded = refusal.recording
    with pytest.raises(UnsupportedRequest) as refused:
        recorded.build_request({**recorded.openai_request, **refusal.openai_request})
    assert refusal.parameter in str(refused.value)
