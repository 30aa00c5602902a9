"""OpenAI-shaped chat question → body of `POST /v1/messages`.

Vendor facts as of November 2026, platform.claude.com/docs/en/api/messages/create, …/build-with-claude/structured-outputs, …/effort,
…/agents-and-tools/tool-use/define-tools and …/api/openai-sdk (what OpenAI's parameters mean there).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import conversation, openai_request
from serving_ui.catalogue.conversation import Conversation, Said
from serving_ui.catalogue.openai_request import Image, Text, refuse
from serving_ui.catalogue.translatable import Text as Sentence
from serving_ui.catalogue.vendor_rules import Form, Rules
from serving_ui.catalogue.wire_format import Json

NAME = "Anthropic"
MOST_TOKENS = 4096
"""Sent when the question gives no maximum, because the API demands one: the most that every Claude model can write."""

_WORDS = Form(rest="A-Za-z0-9_-", most=64)
RULES = Rules(
    provider=NAME,
    names=_WORDS,
    ids=_WORDS,
    has_thoughts=True,
    blank_stops=False,
    images=frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"}),
    images_of=frozenset({"user", "tool"}),
    part_fields=("cache_control", "citations"),
)
_TOOL_FIELDS = (
    "cache_control",
    "defer_loading",
    "eager_input_streaming",
    "input_examples",
    "allowed_callers",
)
_TAKEN = (
    "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "tools", "tool_choice",
    "parallel_tool_calls", "response_format", "reasoning_effort", "metadata", "service_tier",
)  # fmt: skip
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def messages_body(body: Json, model: str) -> Json:
    """The whole body. The caller's own fields of Anthropic's stay as they are; none may contradict an OpenAI one."""
    body = openai_request.merged(body)
    own = openai_request.own_fields(body, taken=_TAKEN, provider=NAME)
    read = conversation.read(body, RULES)
    system = _short([block for each in read.system for block in _blocks(each)])
    sent = {
        "model": model,
        "max_tokens": openai_request.most_tokens(body) or MOST_TOKENS + _thinking_budget(own),
        **({"system": system} if system else {}),
        "messages": [{"role": role, "content": _short(blocks)} for role, blocks in _turns(read)],
        **sampling(body),
        **_tools(body, read),
        **service(body),
        **({"stream": True} if body.get("stream") else {}),
    }
    return openai_request.joined(sent | _output(body), own)


def sampling(body: Json) -> Json:
    """`temperature`, `top_p` and `stop`, which mean the same in both of Anthropic's interfaces.

    1 is what the first two are anyhow. It is left unsaid, because later models take only one of them, or none.
    """
    given = {
        "temperature": openai_request.number(body, "temperature", least=0, most=1),
        "top_p": openai_request.number(body, "top_p", least=0, most=1),
        "stop_sequences": openai_request.stops(body, RULES) or None,
    }
    return {name: value for name, value in given.items() if value is not None and value != 1}


def service(body: Json) -> Json:
    """Whom the request is for, and how it is served. OpenAI's `default` is Anthropic's `standard_only`."""
    sent: Json = {}
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, Mapping) or metadata.keys() - {"user_id"}:
        raise refuse("metadata", f"{NAME} takes nothing there but user_id.")
    user = metadata.get("user_id") or body.get("safety_identifier") or body.get("user")
    if user:
        sent["metadata"] = {"user_id": user}
    tier = body.get("service_tier")
    if tier in ("default", "standard_only"):
        sent["service_tier"] = "standard_only"
    elif tier not in (None, "auto"):
        raise refuse("service_tier", f"{NAME} has auto and standard_only.")
    return sent


def _thinking_budget(own: Json) -> int:
    """Thinking counts as output, so a maximum that the caller has not given must leave room for both."""
    thinking = own.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    return budget if isinstance(budget, int) else 0


def _turns(read: Conversation) -> list[tuple[str, list[Json]]]:
    """Neighbours of one role become one message, and a tool's result is what the user says."""
    return conversation.merged(
        ("assistant" if each.is_of_assistant else "user", _told(each)) for each in read.said
    )


def _short(blocks: list[Json]) -> str | list[Json]:
    """A single text has a shorter spelling."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _told(said: Said) -> list[Json]:
    if said.answered is not None:
        content = _short(_blocks(said))
        result: Json = {"type": "tool_result", "tool_use_id": said.answered.id}
        return [{**result, "content": content} if content else result]
    used = [
        {"type": "tool_use", "id": call.id, "name": call.called, "input": call.arguments}
        for call in said.calls
    ]
    return [*_thoughts(said), *_blocks(said), *used]


def _thoughts(said: Said) -> list[Json]:
    return [{name: value for name, value in thought.items() if name != "index"} for thought in said.thoughts]


def _blocks(said: Said) -> list[Json]:
    return [_block(part) for part in said.parts]


def _block(part: Text | Image) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text, **part.own}
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}, **part.own}
    source = {"type": "base64", "media_type": part.kind, "data": part.data}
    return {"type": "image", "source": source, **part.own}


def _tools(body: Json, read: Conversation) -> Json:
    """A conversation that has used tools may be refused without any: then those are told of that it has used, and forbidden."""
    tools = [_tool(function) for function in openai_request.functions(body, RULES, own=_TOOL_FIELDS)]
    kind, name = openai_request.choice_of_tool(body, RULES)
    if not tools and read.tools_called:
        tools, kind = [_tool({"name": called}) for called in read.tools_called], "none"
    choice: Json = {"type": "tool", "name": name} if name else {"type": _CHOICES[kind]} if kind else {}
    if openai_request.calls_one_at_a_time(body) and tools and kind != "none":
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


def _output(body: Json) -> Json:
    """`response_format` and `reasoning_effort`."""
    config: Json = {}
    thinking: Json = {}
    effort = body.get("reasoning_effort")
    if effort == "none":
        thinking = {"thinking": {"type": "disabled"}}
    elif effort is not None:
        if effort not in _EFFORTS:
            raise refuse(
                "reasoning_effort", f"{NAME} has low, medium, high, xhigh and max, and none for no thinking."
            )
        config["effort"] = effort
    schema = _schema(body.get("response_format"))
    if schema is not None:
        config["format"] = {"type": "json_schema", "schema": schema}
    return {**thinking, **({"output_config": config} if config else {})}


def _schema(given: Any) -> Json | None:
    kind = given.get("type") if isinstance(given, Mapping) else None
    if given is None or kind == "text":
        return None
    described = given.get("json_schema") if kind == "json_schema" else None
    if not isinstance(described, Mapping) or not isinstance(described.get("schema"), Mapping):
        why: Sentence | str = (
            f"{NAME} has the type json_schema with a schema, and no other way to ask for JSON."
        )
        raise refuse("response_format", why)
    about = {"description": described["description"]} if described.get("description") else {}
    return {**about, **described["schema"]}
