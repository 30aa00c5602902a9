"""Translates chat requests in OpenAI's format to the body of `POST /v2/chat`.

Vendor facts as of November 2026, docs.cohere.com/reference/chat: messages and tools are as in OpenAI's API, parameters are not.
`p` is from 0.01 to 0.99, penalties are from 0 to 1, a request has one choice, and no tool can be forced by name. Thinking models think
without limit unless it is disabled. …/reference/errors: the system message is the first, and no message is empty. Allowed tool names
are those of the SDK's Tool. Calls without tools in the request are not documented, so these are sent as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import conversation, openai_request
from serving_ui.catalogue.conversation import EMPTY_RESULT, ChatMessage
from serving_ui.catalogue.openai_request import refuse
from serving_ui.catalogue.vendor_rules import IdentifierFormat, VendorRules
from serving_ui.catalogue.wire_format import Json

NAME = "Cohere"
RULES = VendorRules(
    provider=NAME,
    tool_names=IdentifierFormat(first="A-Za-z_", rest="A-Za-z0-9_", max_length=64),
    call_ids=IdentifierFormat(rest="!-~", max_length=256),
    history_as_text=True,
    max_stop_sequences=5,
    image_types=frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"}),
    image_details=("auto", "low", "high"),
)
_MIN_P, _MAX_P = 0.01, 0.99
_SUPPORTED = (
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "response_format",
    "tools",
    "tool_choice",
    "reasoning_effort",
)


def chat_body(body: Json, model: str) -> Json:
    """The body. Cohere's own parameters (`k`, `documents`, `safety_mode`, …) pass through."""
    body = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(body, supported=_SUPPORTED, provider=NAME)
    history = conversation.read(body, RULES)
    sent = {
        "model": model,
        "messages": history.system_messages + [_message(each) for each in history.messages],
        **sampling(body),
        **_tools(body),
        **_format(body),
        **_thinking(body),
        **({"logprobs": True} if openai_request.flag(body, "logprobs") else {}),
        **({"stream": True} if body.get("stream") else {}),
    }
    return openai_request.merge_parameters(sent, own)


def sampling(body: Mapping[str, Any], *, stop: str = "stop_sequences") -> Json:
    """The parameters for sampling and length. `stop` is the name of the stop sequences, which differs between chat and generate."""
    return {
        name: value
        for name, value in {
            "max_tokens": openai_request.max_tokens(body),
            "temperature": openai_request.number(body, "temperature", minimum=0, maximum=2),
            "p": _top_p(body),
            stop: openai_request.stop_sequences(body, RULES) or None,
            "seed": body.get("seed"),
            "frequency_penalty": openai_request.number(body, "frequency_penalty", minimum=0, maximum=1),
            "presence_penalty": openai_request.number(body, "presence_penalty", minimum=0, maximum=1),
        }.items()
        if value is not None
    }


def _top_p(body: Mapping[str, Any]) -> float | None:
    """`top_p`. 1, which many clients always send, becomes Cohere's maximum of 0.99, because its default is 0.75."""
    top_p = openai_request.number(body, "top_p", minimum=_MIN_P, maximum=1)
    if top_p is not None and _MAX_P < top_p < 1:
        raise refuse("top_p", f"It must be a number from {_MIN_P} to {_MAX_P}, or 1.")
    return _MAX_P if top_p == 1 else top_p


def _message(message: ChatMessage) -> Json:
    if message.answered_call is not None:
        return {
            "role": "tool",
            "tool_call_id": message.answered_call.id,
            "content": message.text or EMPTY_RESULT,
        }
    if message.is_assistant:
        return _assistant_message(message)
    if isinstance(message.original.get("content"), list):
        return {"role": "user", "content": [_part(part) for part in message.parts]}
    return {"role": "user", "content": message.text}


def _part(part: openai_request.TextPart | openai_request.ImagePart) -> Json:
    if isinstance(part, openai_request.TextPart):
        return {"type": "text", "text": part.text}
    url = part.url or f"data:{part.media_type};base64,{part.data}"
    return {
        "type": "image_url",
        "image_url": {"url": url, **({"detail": part.detail} if part.detail else {})},
    }


def _assistant_message(message: ChatMessage) -> Json:
    """An earlier response of the assistant, with its tool calls and Cohere's `tool_plan`."""
    sent: Json = {"role": "assistant"}
    if message.calls:
        sent["tool_calls"] = conversation.openai_tool_calls(message.calls)
        if message.original.get("tool_plan"):
            sent["tool_plan"] = message.original["tool_plan"]
    return {**sent, "content": message.text} if message.parts else sent


def _tools(body: Mapping[str, Any]) -> Json:
    functions = openai_request.functions(body, RULES)
    kind, name = openai_request.tool_choice(body, RULES)
    if kind == "function" and [each["name"] for each in functions] == [name]:
        kind = "required"  # equivalent, because there is only one tool
    elif kind == "function":
        raise refuse(
            "tool_choice",
            f"{NAME} cannot be forced to call a given tool. Use required, and list only that tool.",
        )
    if not functions:
        return {}
    strict = {bool(function.get("strict")) for function in functions}
    if len(strict) > 1:
        raise refuse(
            "tools",
            f"{NAME} applies strict to all tools or to none. Give all functions the same value of strict.",
        )
    tools = [
        {
            "type": "function",
            "function": {"parameters": {"type": "object", "properties": {}}}
            | {name: value for name, value in each.items() if name != "strict"},
        }
        for each in functions
    ]
    chosen = {"required": {"tool_choice": "REQUIRED"}, "none": {"tool_choice": "NONE"}}.get(kind, {})
    return {"tools": tools, **({"strict_tools": True} if strict == {True} else {}), **chosen}


def _format(body: Mapping[str, Any]) -> Json:
    response_format = body.get("response_format")
    if response_format is None:
        return {}
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    described = response_format.get("json_schema") if kind == "json_schema" else None
    if not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        raise refuse(
            "response_format",
            "Its type must be text, json_object, or json_schema with a json_schema that has a schema.",
        )
    return {"response_format": {"type": "json_object", "json_schema": described["schema"]}}


def _thinking(body: Mapping[str, Any]) -> Json:
    """`reasoning_effort` as on or off; only Cohere's own parameter `thinking` sets a budget."""
    effort = body.get("reasoning_effort")
    if effort is None:
        return {}
    if effort not in ("none", "high"):
        raise refuse(
            "reasoning_effort",
            f"{NAME} supports none and high, or a token_budget in its parameter thinking.",
        )
    return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}
