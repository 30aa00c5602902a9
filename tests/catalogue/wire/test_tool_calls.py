"""Tool calls in vendors' replies and streams have the caller's name of the tool, and arguments that are an object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from serving_ui.catalogue.openai_response import ToolArgumentsStream
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.wire_format import StreamEvent, to_openai_response, translate_event
from tests.support.rule_columns import COLUMNS, Column
from tests.support.rule_table import tools, user

Json = dict[str, Any]
NAMES = ["weather", "mcp.files/read:now", "天気", "a" * 100, "1st", "read-file"]
MISSING = object()
TEXTS = ["", None, "null", " null ", MISSING, "{}"]
"""What is given instead of arguments where they are a text."""
OBJECTS = [{}, None, MISSING]
"""And where they are an object."""


def tools_request(name: str) -> Json:
    return {"messages": [user("Hi")], **tools("other", name)}


def called(column: Column, name: str) -> str:
    """The name by which the vendor's model calls the tool."""
    return column.vendor_request(tools_request(name)).tools[-1]


def holding(key: str, value: Any) -> Json:
    return {} if value is MISSING else {key: value}


# Each vendor's reply with one tool call, and its stream with the arguments in pieces.


def anthropics(name: str, arguments: Any) -> Json:
    block = {"type": "tool_use", "id": "toolu_1", "name": name, **holding("input", arguments)}
    usage = {"input_tokens": 1, "output_tokens": 2}
    return {"id": "m", "model": "c", "content": [block], "stop_reason": "tool_use", "usage": usage}


def anthropics_stream(name: str, pieces: list[Any]) -> Iterator[StreamEvent]:
    yield StreamEvent(
        "",
        {
            "type": "message_start",
            "message": {"id": "m", "model": "c", "usage": {"input_tokens": 1, "output_tokens": 0}},
        },
    )
    yield StreamEvent(
        "",
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}},
        },
    )
    for piece in pieces:
        yield StreamEvent(
            "",
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": piece},
            },
        )
    yield StreamEvent("", {"type": "content_block_stop", "index": 0})
    yield StreamEvent(
        "", {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}}
    )
    yield StreamEvent("", {"type": "message_stop"})


def bedrocks(name: str, arguments: Any) -> Json:
    use = {"toolUseId": "tooluse_1", "name": name, **holding("input", arguments)}
    usage = {"inputTokens": 1, "outputTokens": 2}
    return {"output": {"message": {"content": [{"toolUse": use}]}}, "stopReason": "tool_use", "usage": usage}


def bedrocks_stream(name: str, pieces: list[Any]) -> Iterator[StreamEvent]:
    yield StreamEvent("messageStart", {"role": "assistant"})
    yield StreamEvent(
        "contentBlockStart",
        {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": name}}},
    )
    for piece in pieces:
        yield StreamEvent(
            "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": piece}}}
        )
    yield StreamEvent("contentBlockStop", {"contentBlockIndex": 0})
    yield StreamEvent("messageStop", {"stopReason": "tool_use"})
    yield StreamEvent("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2}})


def googles(name: str, arguments: Any) -> Json:
    part = {"functionCall": {"name": name, **holding("args", arguments)}}
    return {
        "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1},
    }


def googles_stream(name: str, pieces: list[Any]) -> Iterator[StreamEvent]:
    yield StreamEvent("", googles(name, json.loads("".join(pieces)) if "".join(pieces) else MISSING))


def coheres(name: str, arguments: Any) -> Json:
    call = {"id": "f_1", "type": "function", "function": {"name": name, **holding("arguments", arguments)}}
    return {"id": "m", "finish_reason": "TOOL_CALL", "message": {"tool_calls": [call]}}


def coheres_stream(name: str, pieces: list[Any]) -> Iterator[StreamEvent]:
    def event(kind: str, call: Json) -> StreamEvent:
        return StreamEvent("", {"type": kind, "index": 0, "delta": {"message": {"tool_calls": call}}})

    yield StreamEvent("", {"type": "message-start", "id": "m"})
    yield event("tool-call-start", {"id": "f_1", "function": {"name": name, "arguments": ""}})
    for piece in pieces:
        yield event("tool-call-delta", {"function": {"arguments": piece}})
    yield event("tool-call-end", {})
    yield StreamEvent("", {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}})


def ai21s(name: str, arguments: Any) -> Json:
    call = {"id": "f_1", "type": "function", "function": {"name": name, **holding("arguments", arguments)}}
    message = {"content": None, "tool_calls": [call]}
    return {"id": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}


def ai21s_stream(name: str, pieces: list[Any]) -> Iterator[StreamEvent]:
    def event(*calls: Json, reason: str | None = None) -> StreamEvent:
        choice = {"index": 0, "delta": {"tool_calls": list(calls)}, "finish_reason": reason}
        return StreamEvent("", {"id": "m", "choices": [choice]})

    yield event({"id": "f_1", "type": "function", "function": {"name": name}})
    for piece in pieces:
        yield event({"function": {"arguments": piece}})
    yield event(reason="tool_calls")


WIRES: dict[str, tuple[Any, Any, list[Any]]] = {
    "anthropic": (anthropics, anthropics_stream, OBJECTS),
    "amazon-bedrock": (bedrocks, bedrocks_stream, [*OBJECTS, ""]),
    "google-cloud-vertex-ai": (googles, googles_stream, OBJECTS),
    "cohere": (coheres, coheres_stream, TEXTS),
    "ai21labs": (ai21s, ai21s_stream, TEXTS),
}
every_column = pytest.mark.parametrize("column", COLUMNS, ids=str)


def whole(column: Column, name: str, arguments: Any) -> Json:
    """The tool call of the translated reply."""
    reply = WIRES[column.provider.name][0](called(column, name), arguments)
    answer = to_openai_response(column.wire_format(Task.CHAT), reply, column.context(tools_request(name)))
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    function: Json = call["function"]
    return function


def streamed(column: Column, name: str, pieces: list[Any]) -> Json:
    """The tool call that OpenAI's client makes from the translated stream."""
    make = column.wire_format(Task.CHAT).stream_translator
    assert make is not None
    translator, state = make(column.context(tools_request(name))), ChatCompletionStreamState()
    for event in WIRES[column.provider.name][1](called(column, name), pieces):
        for chunk in translate_event(translator, event):
            state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    assert translator.finished
    calls = state.current_completion_snapshot.choices[0].message.tool_calls
    assert calls is not None and len(calls) == 1 and calls[0].id
    call = calls[0]
    return {"name": call.function.name, "arguments": call.function.arguments}


@every_column
@pytest.mark.parametrize("name", NAMES)
def test_the_caller_gets_its_own_name_of_the_tool(column: Column, name: str):
    arguments: Any = {"a": 1} if {} in WIRES[column.provider.name][2] else '{"a": 1}'
    assert whole(column, name, arguments)["name"] == name
    got = streamed(column, name, ['{"a"', ": 1}"])
    assert (got["name"], json.loads(got["arguments"])) == (name, {"a": 1})


@every_column
def test_an_undeclared_tool_keeps_its_name(column: Column):
    reply = WIRES[column.provider.name][0]("made_up", {} if {} in WIRES[column.provider.name][2] else "{}")
    answer = to_openai_response(
        column.wire_format(Task.CHAT), reply, column.context(tools_request("weather"))
    )
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "made_up"


@every_column
def test_a_tool_in_extra_params_is_known(column: Column):
    request_body = {"messages": [user("Hi")], "extra_params": tools(NAMES[1])}
    reply = WIRES[column.provider.name][0](
        called(column, NAMES[1]), {} if {} in WIRES[column.provider.name][2] else "{}"
    )
    answer = to_openai_response(column.wire_format(Task.CHAT), reply, column.context(request_body))
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == NAMES[1]


@every_column
def test_a_call_without_arguments_has_an_empty_object(column: Column):
    for nothing in WIRES[column.provider.name][2]:
        assert whole(column, "f", nothing) == {"name": "f", "arguments": "{}"}, nothing


@every_column
@pytest.mark.parametrize(
    "pieces", [[], [""], ["", ""], ["null"], ["n", "ul", "l"], [" "], ["{}"], ["{", "}"]], ids=str
)
def test_a_streamed_call_without_arguments_has_an_empty_object(column: Column, pieces: list[str]):
    if column.name == "vertex" and pieces == [" "]:
        pieces = []  # its arguments are an object in one piece
    assert streamed(column, "f", pieces) == {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    "pieces", [['{"a', '": null}'], ["nullable"], ["nu", "mber"], ['"null"'], ["1"]], ids=str
)
def test_other_arguments_are_passed_on_unchanged(pieces: list[str]):
    arguments = ToolArgumentsStream()
    assert "".join(map(arguments.take, pieces)) + arguments.rest() == "".join(pieces)
    assert arguments.rest() == ""


def test_a_cohere_stream_without_the_end_of_a_call_has_an_empty_object():
    column = next(each for each in COLUMNS if each.name == "cohere")
    make = column.wire_format(Task.CHAT).stream_translator
    assert make is not None
    translator = make(column.context(tools_request("f")))
    events = [event for event in coheres_stream("f", []) if event.data["type"] != "tool-call-end"]
    chunks = [chunk for event in events for chunk in translate_event(translator, event)]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[-2:] == [{"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, {}]


@every_column
def test_numbers_that_json_does_not_have_are_null_in_arguments(column: Column):
    if {} in WIRES[column.provider.name][2]:
        arguments = whole(column, "f", {"a": float("nan"), "b": [float("inf")]})["arguments"]
        assert json.loads(arguments) == {"a": None, "b": [None]}
