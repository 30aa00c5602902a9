"""Translates chat requests in OpenAI's format to the body of `POST /v1/messages`.

Vendor facts as of November 2026, platform.claude.com/docs/en/api/messages/create, …/build-with-claude/structured-outputs, …/effort,
…/agents-and-tools/tool-use/define-tools and …/api/openai-sdk (what OpenAI's parameters mean there).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import conversation, openai_request
from serving_ui.catalogue.conversation import ChatMessage, Conversation
from serving_ui.catalogue.openai_request import ImagePart, TextPart, refuse
from serving_ui.catalogue.vendor_rules import IdentifierFormat, VendorRules
from serving_ui.catalogue.wire_format import Json

NAME = "Anthropic"
DEFAULT_MAX_TOKENS = 4096
"""The default of `max_tokens`, which the API requires: the largest value that all Claude models accept."""

_IDENTIFIER = IdentifierFormat(rest="A-Za-z0-9_-", max_length=64)
RULES = VendorRules(
    provider=NAME,
    tool_names=_IDENTIFIER,
    call_ids=_IDENTIFIER,
    takes_thinking_blocks=True,
    blank_stop_sequences=False,
    image_types=frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"}),
    image_roles=frozenset({"user", "tool"}),
    vendor_part_fields=("cache_control", "citations"),
)
_TOOL_FIELDS = (
    "cache_control",
    "defer_loading",
    "eager_input_streaming",
    "input_examples",
    "allowed_callers",
)
_SUPPORTED = (
    "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "tools", "tool_choice",
    "parallel_tool_calls", "response_format", "reasoning_effort", "metadata", "service_tier",
)  # fmt: skip
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def messages_body(body: Json, model: str) -> Json:
    """The body. Anthropic's own fields pass through; raises UnsupportedRequest if one conflicts with a field of OpenAI."""
    body = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(body, supported=_SUPPORTED, provider=NAME)
    history = conversation.read(body, RULES)
    system = _shortest_content([block for each in history.system for block in _blocks(each)])
    sent = {
        "model": model,
        "max_tokens": openai_request.max_tokens(body) or DEFAULT_MAX_TOKENS + _thinking_budget(own),
        **({"system": system} if system else {}),
        "messages": [
            {"role": role, "content": _shortest_content(blocks)} for role, blocks in _turns(history)
        ],
        **sampling(body),
        **_tools(body, history),
        **service_fields(body),
        **({"stream": True} if body.get("stream") else {}),
    }
    return openai_request.merge_parameters(sent | _output_config(body), own)


def sampling(body: Json) -> Json:
    """`temperature`, `top_p` and `stop`, for `/v1/messages` and `/v1/complete`.

    Newer models accept only one of the first two, or none, so their default of 1 is left out.
    """
    parameters = {
        "temperature": openai_request.number(body, "temperature", minimum=0, maximum=1),
        "top_p": openai_request.number(body, "top_p", minimum=0, maximum=1),
        "stop_sequences": openai_request.stop_sequences(body, RULES) or None,
    }
    return {name: value for name, value in parameters.items() if value is not None and value != 1}


def service_fields(body: Json) -> Json:
    """`metadata` with the user's id, and `service_tier`, where OpenAI's `default` is Anthropic's `standard_only`."""
    sent: Json = {}
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, Mapping) or metadata.keys() - {"user_id"}:
        raise refuse("metadata", f"{NAME} supports only user_id here.")
    user = metadata.get("user_id") or body.get("safety_identifier") or body.get("user")
    if user:
        sent["metadata"] = {"user_id": user}
    tier = body.get("service_tier")
    if tier in ("default", "standard_only"):
        sent["service_tier"] = "standard_only"
    elif tier not in (None, "auto"):
        raise refuse("service_tier", f"{NAME} supports auto and standard_only.")
    return sent


def _thinking_budget(own: Json) -> int:
    """The thinking budget, which is added to the default of `max_tokens`, because thinking counts as output."""
    thinking = own.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    return budget if isinstance(budget, int) else 0


def _turns(history: Conversation) -> list[tuple[str, list[Json]]]:
    """Messages of alternating roles; tool results are in user messages."""
    return conversation.merge_turns(
        ("assistant" if each.is_assistant else "user", _content_blocks(each)) for each in history.messages
    )


def _shortest_content(blocks: list[Json]) -> str | list[Json]:
    """The blocks, or a string if they are a single text without other fields."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _content_blocks(message: ChatMessage) -> list[Json]:
    if message.answered_call is not None:
        content = _shortest_content(_blocks(message))
        result: Json = {"type": "tool_result", "tool_use_id": message.answered_call.id}
        return [{**result, "content": content} if content else result]
    used = [
        {"type": "tool_use", "id": call.id, "name": call.vendor_name, "input": call.arguments}
        for call in message.calls
    ]
    return [*_thoughts(message), *_blocks(message), *used]


def _thoughts(message: ChatMessage) -> list[Json]:
    return [
        {name: value for name, value in thought.items() if name != "index"}
        for thought in message.thinking_blocks
    ]


def _blocks(message: ChatMessage) -> list[Json]:
    return [_block(part) for part in message.parts]


def _block(part: TextPart | ImagePart) -> Json:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text, **part.vendor_fields}
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}, **part.vendor_fields}
    source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    return {"type": "image", "source": source, **part.vendor_fields}


def _tools(body: Json, history: Conversation) -> Json:
    """`tools` and `tool_choice`. Without tools in the request, the tools called earlier are declared, because the API requires it, but forbidden."""
    tools = [
        _tool(function) for function in openai_request.functions(body, RULES, vendor_fields=_TOOL_FIELDS)
    ]
    kind, name = openai_request.tool_choice(body, RULES)
    if not tools and history.called_tool_names:
        tools, kind = [_tool({"name": called}) for called in history.called_tool_names], "none"
    choice: Json = {"type": "tool", "name": name} if name else {"type": _CHOICES[kind]} if kind else {}
    if openai_request.forbids_parallel_tool_calls(body) and tools and kind != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    return {**({"tools": tools} if tools else {}), **({"tool_choice": choice} if choice else {})}


def _tool(function: Json) -> Json:
    tool: Json = {"name": function["name"]}
    if function.get("description"):
        tool["description"] = function["description"]
    tool["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    if function.get("strict"):
        tool["strict"] = True
    return tool | {name: function[name] for name in _TOOL_FIELDS if name in function}


def _output_config(body: Json) -> Json:
    """`response_format` and `reasoning_effort`."""
    config: Json = {}
    thinking: Json = {}
    effort = body.get("reasoning_effort")
    if effort == "none":
        thinking = {"thinking": {"type": "disabled"}}
    elif effort is not None:
        if effort not in _EFFORTS:
            raise refuse(
                "reasoning_effort",
                f"{NAME} supports low, medium, high, xhigh and max, and none to switch thinking off.",
            )
        config["effort"] = effort
    schema = _schema(body.get("response_format"))
    if schema is not None:
        config["format"] = {"type": "json_schema", "schema": schema}
    return {**thinking, **({"output_config": config} if config else {})}


def _schema(response_format: Any) -> Json | None:
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if response_format is None or kind == "text":
        return None
    described = response_format.get("json_schema") if kind == "json_schema" else None
    if not isinstance(described, Mapping) or not isinstance(described.get("schema"), Mapping):
        raise refuse(
            "response_format",
            f"{NAME} supports JSON only with the type json_schema and a schema.",
        )
    about = {"description": described["description"]} if described.get("description") else {}
    return {**about, **described["schema"]}
