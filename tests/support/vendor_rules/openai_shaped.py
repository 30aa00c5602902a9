"""Cohere's and AI21 Labs' chat APIs, whose messages have the same shape as OpenAI's, and Cohere's generate API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tests.support.vendor_rules.checks import NAME, Json, require, require_unique

FUNCTION_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")


def check_cohere_chat(body: Json, _model: str) -> None:
    _check_messages(body, names=FUNCTION_NAME)
    require(len(body.get("stop_sequences") or ()) <= 5, "too many stop sequences: at most 5 are allowed")
    require(all(body.get("stop_sequences") or ()), "stop sequences must not be empty")
    for message in body["messages"]:
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            require(
                part["type"] == "text" or message["role"] == "user",
                "image content is only valid for user messages",
            )


def check_jamba_chat(body: Json, _model: str) -> None:
    _check_messages(body, names=NAME)
    roles = [each["role"] for each in body["messages"] if each["role"] not in ("system", "tool")]
    _require_alternating_roles_except_tools(body["messages"], roles)
    require(
        all(isinstance(each["content"], str) for each in body["messages"]),
        "content: Input should be a valid string",
    )
    require(all(body.get("stop") or ()), "stop sequences must not be empty")


def _require_alternating_roles_except_tools(messages: list[Json], roles: list[str]) -> None:
    require(roles[0] == "user", "messages must begin with the user's")
    for before, each in pairwise(messages):
        require(
            each["role"] == "tool" or each["role"] != before["role"],
            "messages must alternate between user and assistant",
        )


def _check_messages(body: Json, *, names: re.Pattern[str]) -> None:
    messages = body["messages"]
    require(
        any(each["role"] in ("user", "assistant") for each in messages), "at least one message of the user"
    )
    require(
        all(each["role"] != "system" for each in messages[1:]), "system turn must be the first in the list"
    )
    require(
        next(each["role"] for each in messages if each["role"] != "system") == "user",
        "the first turn must be the user's",
    )
    waiting: list[str] = []
    ids: list[str] = []
    declared = [tool["function"]["name"] for tool in body.get("tools") or ()]
    for message in messages:
        calls = message.get("tool_calls") or []
        says = any(text.strip() for text in _texts(message.get("content")))
        require(says or calls, "message must not be empty in a turn")
        if message["role"] == "tool":
            require(message["tool_call_id"] in waiting, "tool_call_id not found in the calls before")
            waiting.remove(message["tool_call_id"])
        else:
            require(
                not waiting,
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
            )
        for call in calls:
            require(
                call["id"] and isinstance(json.loads(call["function"]["arguments"]), dict),
                "invalid arguments",
            )
            require(names.fullmatch(call["function"]["name"]), "invalid tool name")
        waiting += [call["id"] for call in calls]
        ids += [call["id"] for call in calls]
    require(not waiting, "The following tool_call_ids did not have response messages")
    require_unique(ids, "tool call ids must be unique")
    require(declared or not ids, "tools must be given when there are tool calls")
    require(all(names.fullmatch(name) for name in declared), "invalid tool name")


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        yield part.get("text", "an image")


def check_cohere_generate(body: Json, _model: str) -> None:
    require(body["prompt"].strip(), "invalid request: prompt must be at least 1 token long.")
    require(len(body.get("end_sequences") or ()) <= 5, "too many stop sequences")
