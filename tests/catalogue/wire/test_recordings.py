"""Requests to all vendors and the translation of their replies and streams, compared with the data of tests/support/recordings.py."""

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
def test_every_task_of_every_provider_is_recorded(provider: Provider):
    assert provider.wire_formats.keys() == set(provider.tasks)
    if provider.name not in UNRECORDED:
        recorded = [each for each in RECORDINGS if each.provider is provider]
        streaming = {each.task for each in recorded if each.chunks is not None}
        assert {each.task for each in recorded if each.answer is not None} == set(provider.tasks)
        assert streaming == set(provider.tasks) - {Task.EMBEDDINGS}


@pytest.mark.parametrize("recorded", RECORDINGS, ids=str)
def test_the_upstream_request_is_as_recorded(recorded: Recording):
    request = recorded.build_request()
    parts = urlsplit(request.url)
    sent = {name.lower(): value for name, value in request.headers}
    assert request.method == "POST"
    assert request.url.startswith(VENDOR)
    assert parts.path + (f"?{parts.query}" if parts.query else "") == recorded.request["path"]
    assert json.loads(request.body or b"") == recorded.request["body"]
    assert {name: sent.get(name) for name in recorded.request["headers"]} == recorded.request["headers"]


@pytest.mark.parametrize("recorded", RECORDINGS, ids=str)
def test_a_parameter_in_extra_params_has_the_same_effect(recorded: Recording):
    required = {name: value for name, value in recorded.openai_request.items() if name in STAYS}
    extra = {name: value for name, value in recorded.openai_request.items() if name not in STAYS}
    merged = {**extra.pop("extra_params", {}), **extra}
    request = recorded.build_request({**required, "extra_params": merged})
    assert json.loads(request.body or b"") == recorded.request["body"]


@pytest.mark.parametrize("recorded", WITH_REPLY, ids=str)
def test_the_vendors_reply_is_translated_to_openais_format(recorded: Recording):
    reply = recorded.wire_format.translate_response
    assert (reply(recorded.reply, recorded.context) if reply else recorded.reply) == recorded.answer


TRANSLATED = [each for each in WITH_STREAM if each.wire_format.stream_translator is not None]


@pytest.mark.parametrize("recorded", TRANSLATED, ids=str)
def test_the_vendors_stream_is_translated_to_openais_chunks(recorded: Recording):
    assert recorded.wire_format.stream_translator is not None
    translator = recorded.wire_format.stream_translator(recorded.context)
    chunks = []
    for event in recorded.events():
        chunks += translator.take(event)
    assert chunks == recorded.chunks
    assert translator.finished


@pytest.mark.parametrize("recorded", [each for each in WITH_STREAM if each.task is Task.CHAT], ids=str)
def test_openais_client_joins_the_chunks(recorded: Recording):
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
def test_half_a_stream_is_not_finished(recorded: Recording):
    assert recorded.wire_format.stream_translator is not None
    translator = recorded.wire_format.stream_translator(recorded.context)
    events = recorded.events()
    for event in events[: len(events) // 2]:
        translator.take(event)
    assert not translator.finished


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_an_unsupported_parameter_is_refused_by_name(refusal: Refusal):
    recorded = refusal.recording
    with pytest.raises(UnsupportedRequest) as refused:
        recorded.build_request({**recorded.openai_request, **refusal.openai_request})
    assert refusal.parameter in str(refused.value)
