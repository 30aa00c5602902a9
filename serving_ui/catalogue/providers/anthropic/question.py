"""OpenAI-shaped chat question → body of `POST /v1/messages`.

Vendor facts as of November 2026, platform.claude.com/docs/en/api/messages/create, …/build-with-claude/structured-outputs, …/effort
and …/api/openai-sdk (what OpenAI's parameters mean there).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import questions
from serving_ui.catalogue.exchange import Json
from serving_ui.catalogue.questions import Image, Text, refuse
from serving_ui.catalogue.text import Text as Sentence

NAME = "Anthropic"
MOST_TOKENS = 4096
"""Sent when the question gives no maximum, because the API demands one: the most that every Claude model can write."""

_PART_FIELDS = ("cache_control", "citations")
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
    body = questions.merged(body)
    own = questions.own_fields(body, taken=_TAKEN, provider=NAME)
    system, turns = _turns(body)
    sent = {
        "model": model,
        "max_tokens": questions.most_tokens(body) or MOST_TOKENS + _thinking_budget(own),
        **({"system": system} if system else {}),
        "messages": turns,
        **sampling(body),
        **_tools(body),
        **service(body),
        **({"stream": True} if body.get("stream") else {}),
    }
    return questions.joined(sent | _output(body), own)


def sampling(body: Json) -> Json:
    """`temperature`, `top_p` and `stop`, which mean the same in both of Anthropic's interfaces.

    1 is what the first two are anyhow. It is left unsaid, because later models take only one of them, or none.
    """
    stops = questions.stops(body)
    if any(not stop.strip() for stop in stops):
        raise refuse("stop", f"For {NAME} each text must have a character that is not white space.")
    given = {
        "temperature": questions.number(body, "temperature", least=0, most=1),
        "top_p": questions.number(body, "top_p", least=0, most=1),
        "stop_sequences": stops or None,
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


def _turns(body: Json) -> tuple[str | list[Json], list[Json]]:
    """(system, messages). Neighbours of one role become one message, and a tool's result is what the user says."""
    system: list[Json] = []
    turns: list[tuple[str, list[Json]]] = []
    for position, message in enumerate(questions.messages(body)):
        at = f"messages[{position}]"
        if message["role"] == "system":
            system += _system(message, at)
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _said(message, at)
        if not blocks:
            raise refuse(f"{at}.content", f"{NAME} takes no empty message.")
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns:
        raise refuse("messages", f"{NAME} needs a message that is not the system's.")
    return _short(system), [{"role": role, "content": _short(blocks)} for role, blocks in turns]


def _system(message: Json, at: str) -> list[Json]:
    blocks = _blocks(message, at)
    if any(block["type"] == "image" for block in blocks):
        raise refuse(f"{at}.content", "An image cannot stand there.")
    return blocks


def _short(blocks: list[Json]) -> str | list[Json]:
    """A single text has a shorter spelling."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _said(message: Json, at: str) -> list[Json]:
    if message["role"] == "tool":
        return [_tool_result(message, at)]
    if message["role"] == "user":
        return _blocks(message, at)
    calls = questions.tool_calls(message, at=at)
    if not all(call.id for call in calls):
        raise refuse(f"{at}.tool_calls", f"{NAME} needs the id of each.")
    used = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in calls]
    return [*_thoughts(message, at), *_blocks(message, at), *used]


def _thoughts(message: Json, at: str) -> list[Json]:
    """What an earlier answer has given as `thinking_blocks`: the model wants them back, signed as they were, when tools are used."""
    blocks = message.get("thinking_blocks") or []
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        raise refuse(f"{at}.thinking_blocks", "It must be the list that an earlier answer gave.")
    return [{name: value for name, value in block.items() if name != "index"} for block in blocks]


def _tool_result(message: Json, at: str) -> Json:
    call = message.get("tool_call_id")
    if not isinstance(call, str) or not call:
        raise refuse(f"{at}.tool_call_id", "It must be the id of the tool call that this answers.")
    content = _short(_blocks(message, at))
    result: Json = {"type": "tool_result", "tool_use_id": call}
    return {**result, "content": content} if content else result


def _blocks(message: Json, at: str) -> list[Json]:
    parts = questions.parts(message.get("content"), at=f"{at}.content", own=_PART_FIELDS)
    return [_block(part) for part in parts]


def _block(part: Text | Image) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text, **part.own}
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}, **part.own}
    source = {"type": "base64", "media_type": part.kind, "data": part.data}
    return {"type": "image", "source": source, **part.own}


def _tools(body: Json) -> Json:
    tools = [_tool(function) for function in questions.functions(body, own=_TOOL_FIELDS)]
    kind, name = questions.choice_of_tool(body)
    choice: Json = {"type": "tool", "name": name} if name else {"type": _CHOICES[kind]} if kind else {}
    if questions.calls_one_at_a_time(body) and tools and kind != "none":
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
