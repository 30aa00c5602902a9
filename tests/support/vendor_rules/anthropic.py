"""Anthropic's Messages API, and the completions API that Claude 2 and Jurassic models share."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from tests.support.vendor_rules.checks import (
    IMAGE_TYPES,
    NAME,
    Json,
    require,
    require_alternating_roles,
    require_no_blank_stops,
    require_no_trailing_space,
    require_unique,
)


def check_messages(body: Json, _model: str) -> None:
    messages = [(each["role"], _blocks(each["content"])) for each in body["messages"]]
    require_alternating_roles([role for role, _ in messages], first="user", other="assistant")
    for role, blocks in [*messages, ("system", _blocks(body.get("system") or "x"))]:
        require(blocks, "messages: all messages must have non-empty content")
        for block in blocks:
            _check_block(role, block)
    require_no_trailing_space(messages[-1][0], messages[-1][1][-1].get("text", ""))
    used = [block for _, blocks in messages for block in blocks if block["type"] == "tool_use"]
    require_unique((block["id"] for block in used), "messages: `tool_use` ids must be unique")
    _require_results(messages)
    names = [tool["name"] for tool in body.get("tools") or ()]
    require(
        not used or names, "Requests which include `tool_use` or `tool_result` blocks must define `tools`"
    )
    require(names or "tool_choice" not in body, "tool_choice may only be specified while providing tools")
    for name in names:
        require(
            NAME.fullmatch(name), "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"
        )
    chosen = (body.get("tool_choice") or {}).get("name")
    require(chosen is None or chosen in names, f"Tool '{chosen}' not found in provided tools")
    require_no_blank_stops(body.get("stop_sequences") or ())


def _blocks(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _check_block(role: str, block: Json) -> None:
    kind = block["type"]
    if kind == "text":
        require(block["text"].strip(), "messages: text content blocks must contain non-whitespace text")
    if kind == "image":
        require(role == "user", "'image' blocks are not permitted within assistant turns.")
        source = block["source"]
        known = source["type"] != "base64" or source["media_type"] in IMAGE_TYPES
        require(
            known,
            "source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
        )
    if kind == "tool_use":
        require(
            re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]),
            "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
        )
        require(NAME.fullmatch(block["name"]), "tool_use.name: String should match pattern")
        require(isinstance(block["input"], dict), "tool_use.input: Input should be a valid dictionary")
    for inner in _blocks(block["content"]) if kind == "tool_result" and "content" in block else ():
        _check_block("user", inner)


def _require_results(messages: list[tuple[str, list[Json]]]) -> None:
    for (_, before), (role, blocks) in pairwise([("user", []), *messages, ("user", [])]):
        called = sorted(block["id"] for block in before if block["type"] == "tool_use")
        first = [block for block in blocks if block["type"] == "tool_result"]
        if role == "user":
            require(first == blocks[: len(first)], "tool_result blocks must come first")
            answered = sorted(block["tool_use_id"] for block in first)
            require(
                called == answered, "`tool_use` ids were found without `tool_result` blocks immediately after"
            )


def check_complete(body: Json, _model: str) -> None:
    """Claude's and Jurassic's."""
    require(body["prompt"].strip(), "prompt: must not be empty")
    require_no_blank_stops(body.get("stop_sequences") or ())
