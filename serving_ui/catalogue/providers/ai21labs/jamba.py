"""Jamba: translates requests to the body of `POST /chat/completions`, and its responses and chunks back.

Vendor facts as of November 2026, docs.ai21.com/reference/jamba-1-6-api-ref and …/jamba-instruct-api (one system message comes
first, then user and assistant messages alternate). The API is close to OpenAI's; responses and chunks lack `object`, `created` and
often `model`, contents are text only, no tool can be chosen, and `n` is at most 16, and 1 in a stream. The allowed tool names and call
ids are not documented, so those of OpenAI are used. Earlier tool calls in a request without `tools` are not documented either; they are
sent as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import conversation, openai_request, openai_response
from serving_ui.catalogue.conversation import EMPTY_RESULT, ChatMessage
from serving_ui.catalogue.openai_request import refuse
from serving_ui.catalogue.vendor_rules import IdentifierFormat, VendorRules
from serving_ui.catalogue.wire_format import Json, RequestContext, StreamEvent

NAME = "AI21 Labs"
RULES = VendorRules(
    provider=NAME,
    tool_names=IdentifierFormat(rest="A-Za-z0-9_-", max_length=64),
    call_ids=IdentifierFormat(rest="!-~", max_length=256),
    can_forbid_tools=False,
    history_as_text=True,
)
_MAX_CHOICES = 16
_SUPPORTED = (
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "n",
    "tools",
    "tool_choice",
    "response_format",
)


def chat_body(body: Json, model: str) -> Json:
    body = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(body, supported=_SUPPORTED, provider=NAME)
    history = conversation.read(body, RULES)
    messages = history.system_messages + _messages(history.messages)
    return {"model": model, "messages": messages, **sampling(body), **_tools(body), **_format(body), **own}


def sampling(body: Mapping[str, Any]) -> Json:
    """The parameters for sampling, length, number of choices, and streaming."""
    count = openai_request.number(body, "n", minimum=1, maximum=_MAX_CHOICES)
    if body.get("stream") and (count or 1) > 1:
        raise refuse("n", f"{NAME} streams one answer only. Leave it out, or leave out stream.")
    parameters = {
        "max_tokens": openai_request.max_tokens(body),
        "temperature": openai_request.number(body, "temperature", minimum=0, maximum=2),
        "top_p": openai_request.number(body, "top_p", minimum=0, maximum=1),
        "stop": openai_request.stop_sequences(body, RULES) or None,
        "n": count,
        "stream": True if body.get("stream") else None,
    }
    return {name: value for name, value in parameters.items() if value is not None}


def _messages(messages: list[ChatMessage]) -> list[Json]:
    """The messages, with consecutive ones of one role merged, except tool results."""
    turns: list[Json] = []
    for each in messages:
        message = _message(each)
        before = turns[-1] if turns else {"role": "tool"}  # nothing is merged into a tool message
        if message["role"] != before["role"] or message["role"] == "tool":
            turns.append(message)
            continue
        before["content"] = "\n\n".join(text for text in (before["content"], message["content"]) if text)
        if "tool_calls" in message:
            before["tool_calls"] = before.get("tool_calls", []) + message["tool_calls"]
    return turns


def _message(message: ChatMessage) -> Json:
    if message.answered_call is not None:
        return {
            "role": "tool",
            "content": message.text or EMPTY_RESULT,
            "tool_call_id": message.answered_call.id,
        }
    calls = {"tool_calls": conversation.openai_tool_calls(message.calls)} if message.calls else {}
    return {"role": message.role, "content": message.text, **calls}


def _tools(body: Mapping[str, Any]) -> Json:
    functions = openai_request.functions(body, RULES)
    kind, _name = openai_request.tool_choice(body, RULES)
    if kind == "none":
        return {}
    if kind not in {"", "auto"}:
        raise refuse("tool_choice", f"With {NAME} the model always chooses. Use auto, or leave it out.")
    for position, function in enumerate(functions):
        if function.get("strict"):
            raise refuse(
                f"tools[{position}].function.strict", f"{NAME} does not support strict tools. Leave it out."
            )
    listed = [
        {"type": "function", "function": {name: value for name, value in each.items() if name != "strict"}}
        for each in functions
    ]
    return {"tools": listed} if listed else {}


def _format(body: Mapping[str, Any]) -> Json:
    response_format = body.get("response_format")
    if response_format is None:
        return {}
    if response_format not in ({"type": "text"}, {"type": "json_object"}):
        raise refuse("response_format", "Its type must be text or json_object, without other fields.")
    return {"response_format": response_format}


def translate_chat(response: Json, context: RequestContext) -> Json:
    choices = [
        openai_response.choice(
            each["index"],
            _translate_message(each["message"], context),
            each["finish_reason"],
            logprobs=each.get("logprobs"),
        )
        for each in response["choices"]
    ]
    counts = translate_usage(response.get("usage"))
    return openai_response.chat_completion(
        context, choices, counts, id=response["id"], model=response.get("model") or ""
    )


def _translate_message(message: Json, context: RequestContext) -> Json:
    calls = [
        openai_response.tool_call(
            context, RULES, call["id"], call["function"]["name"], call["function"].get("arguments")
        )
        for call in message.get("tool_calls") or ()
    ]
    return openai_response.message(message.get("content"), tool_calls=calls)


def translate_usage(usage: Json | None) -> Json | None:
    return openai_response.usage(usage["prompt_tokens"], usage["completion_tokens"]) if usage else None


class ChatStream:
    """One stream, whose last event has both the finish reason and the usage."""

    def __init__(self, context: RequestContext) -> None:
        self.finished = False
        self.counts: Json | None = None
        self._context = context
        self._calls: dict[int, dict[str, openai_response.ToolArgumentsStream]] = {}

    def take(self, event: StreamEvent) -> list[Json]:
        data = event.data
        model = data.get("model") or ""
        counts = translate_usage(data.get("usage"))
        self.counts = counts or self.counts
        chunks = [self._chunk(data["id"], model, each) for each in data["choices"]]
        self.finished = self.finished or any(each.get("finish_reason") for each in data["choices"])
        if self.finished and counts is not None:
            chunks.append(openai_response.usage_chunk(self._context, counts, id=data["id"], model=model))
        return chunks

    def _chunk(self, id: str, model: str, each: Json) -> Json:
        delta = {name: value for name, value in each["delta"].items() if name != "tool_calls"}
        argument_streams = self._calls.setdefault(each["index"], {})
        calls = [self._piece(argument_streams, call) for call in each["delta"].get("tool_calls") or ()]
        if each.get("finish_reason"):
            calls += [
                {"index": index, "function": {"arguments": rest}}
                for index, arguments in enumerate(argument_streams.values())
                if (rest := arguments.rest())
            ]
        if calls:
            delta["tool_calls"] = calls
        return openai_response.chat_chunk(
            self._context,
            delta,
            index=each["index"],
            finish_reason=each.get("finish_reason"),
            logprobs=each.get("logprobs"),
            id=id,
            model=model,
        )

    def _piece(self, argument_streams: dict[str, openai_response.ToolArgumentsStream], piece: Json) -> Json:
        """One piece of a tool call. Only the first piece of a call has an id; pieces have no index."""
        call_id = piece.get("id") or next(reversed(argument_streams), "")
        function = piece.get("function") or {}
        made: Json = {"function": {}}
        if call_id not in argument_streams:
            made = openai_response.tool_call_start(self._context, RULES, call_id, function["name"])
            argument_streams[call_id] = openai_response.ToolArgumentsStream()
        made["function"]["arguments"] = argument_streams[call_id].take(function.get("arguments"))
        return {"index": list(argument_streams).index(call_id), **made}
