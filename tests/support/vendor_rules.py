"""What the vendors refuse, in their own words: their documentation's rules and the errors that people have reported.

`refusal(path, body)` is what the vendor at this path would say to this body, or None. The vendor of tests/support/vendor.py answers
with it, and every recording is held against it, so that no test anywhere sends what the real one would not take. Where the
documentation is silent the stricter reading is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]
WORDS = re.compile(r"[a-zA-Z0-9_-]{1,64}")
IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


class _Refused(Exception):
    """In the vendor's words."""


def refusal(path: str, content: bytes | None) -> str | None:
    """What the vendor at the path says against the body of a question."""
    if content is None or content[:1] != b"{":  # a form, or nothing
        return None
    try:
        body = json.loads(content, parse_constant=_no_constant)
        for pattern, check in _CHECKS:
            if found := pattern.search(path):
                check(body, unquote(found[1]) if found.groups() else "")
    except _Refused as refused:
        return str(refused)
    return None


def _no_constant(name: str) -> None:
    raise _Refused(f"Unexpected token {name} is not valid JSON")


def _demand(holds: object, words: str) -> None:
    if not holds:
        raise _Refused(words)


def _begins_and_alternates(roles: list[str], *, first: str, other: str) -> None:
    _demand(roles, "messages: at least one message is required")
    _demand(roles[0] == first, f'first message must use the "{first}" role')
    _demand(set(roles) <= {first, other}, "invalid role")
    _demand(all(one != two for one, two in pairwise(roles)), "roles must alternate")


def _unique(ids: Iterable[str], words: str) -> None:
    listed = list(ids)
    _demand(len(listed) == len(set(listed)), words)


def _no_blank_stops(stops: Iterable[str]) -> None:
    _demand(
        all(stop.strip() for stop in stops), "stop_sequences: each stop sequence must contain non-whitespace"
    )


# Anthropic


def _anthropic(body: Json, _model: str) -> None:
    messages = [(each["role"], _blocks(each["content"])) for each in body["messages"]]
    _begins_and_alternates([role for role, _ in messages], first="user", other="assistant")
    for role, blocks in [*messages, ("system", _blocks(body.get("system") or "x"))]:
        _demand(blocks, "messages: all messages must have non-empty content")
        for block in blocks:
            _anthropic_block(role, block)
    _no_trailing_space(messages[-1][0], messages[-1][1][-1].get("text", ""))
    used = [block for _, blocks in messages for block in blocks if block["type"] == "tool_use"]
    _unique((block["id"] for block in used), "messages: `tool_use` ids must be unique")
    _each_use_has_its_result(messages)
    names = [tool["name"] for tool in body.get("tools") or ()]
    _demand(
        not used or names, "Requests which include `tool_use` or `tool_result` blocks must define `tools`"
    )
    _demand(names or "tool_choice" not in body, "tool_choice may only be specified while providing tools")
    for name in names:
        _demand(
            WORDS.fullmatch(name), "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"
        )
    chosen = (body.get("tool_choice") or {}).get("name")
    _demand(chosen is None or chosen in names, f"Tool '{chosen}' not found in provided tools")
    _no_blank_stops(body.get("stop_sequences") or ())


def _blocks(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _anthropic_block(role: str, block: Json) -> None:
    kind = block["type"]
    if kind == "text":
        _demand(block["text"].strip(), "messages: text content blocks must contain non-whitespace text")
    if kind == "image":
        _demand(role == "user", "'image' blocks are not permitted within assistant turns.")
        source = block["source"]
        known = source["type"] != "base64" or source["media_type"] in IMAGES
        _demand(
            known,
            "source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
        )
    if kind == "tool_use":
        _demand(
            re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]),
            "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
        )
        _demand(WORDS.fullmatch(block["name"]), "tool_use.name: String should match pattern")
        _demand(isinstance(block["input"], dict), "tool_use.input: Input should be a valid dictionary")
    for inner in _blocks(block["content"]) if kind == "tool_result" and "content" in block else ():
        _anthropic_block("user", inner)


def _no_trailing_space(role: str, text: str) -> None:
    _demand(
        role != "assistant" or text == text.rstrip(),
        "messages: final assistant content cannot end with trailing whitespace",
    )


def _each_use_has_its_result(messages: list[tuple[str, list[Json]]]) -> None:
    for (_, before), (role, blocks) in pairwise([("user", []), *messages, ("user", [])]):
        called = sorted(block["id"] for block in before if block["type"] == "tool_use")
        first = [block for block in blocks if block["type"] == "tool_result"]
        if role == "user":
            _demand(first == blocks[: len(first)], "tool_result blocks must come first")
            answered = sorted(block["tool_use_id"] for block in first)
            _demand(
                called == answered, "`tool_use` ids were found without `tool_result` blocks immediately after"
            )


# Amazon Bedrock


def _bedrock(body: Json, model: str) -> None:
    of_claude, of_nova = "anthropic." in model, "amazon." in model
    messages = [(each["role"], each["content"]) for each in body["messages"]]
    _begins_and_alternates([role for role, _ in messages], first="user", other="assistant")
    for role, blocks in messages:
        _demand(blocks, "The content field in the Message object at messages.1 is empty.")
        _bedrock_turn(role, blocks, can_mix=of_claude or of_nova)
    for block in body.get("system") or ():
        _demand(block.get("text", "x").strip(), "The text field in the SystemContentBlock object is blank.")
    tools = (body.get("toolConfig") or {}).get("tools")
    used = [block["toolUse"] for _, blocks in messages for block in blocks if "toolUse" in block]
    _demand(
        tools or not used,
        "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
    )
    _demand(tools != [], "Member must have length greater than or equal to 1")
    _unique(
        (use["toolUseId"] for use in used), "The toolUse blocks at messages.2.content contain duplicate Ids"
    )
    for name in [use["name"] for use in used] + [
        each["toolSpec"]["name"] for each in tools or () if "toolSpec" in each
    ]:
        _demand(WORDS.fullmatch(name), "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+")
    for (_, before), (_, blocks) in pairwise([("user", []), *messages, ("user", [])]):
        called = sorted(block["toolUse"]["toolUseId"] for block in before if "toolUse" in block)
        answered = sorted(block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block)
        _demand(called == answered, "Expected toolResult blocks at messages.2.content for the following Ids")
    stops = (body.get("inferenceConfig") or {}).get("stopSequences") or ()
    _demand(all(stops), "Member must have length greater than or equal to 1")
    if of_claude:
        _no_trailing_space(messages[-1][0], messages[-1][1][-1].get("text", ""))
        _no_blank_stops(stops)


def _bedrock_turn(role: str, blocks: list[Json], *, can_mix: bool) -> None:
    kinds = {next(iter(block)) for block in blocks} - {"cachePoint", "reasoningContent"}
    _demand(kinds, "There is nothing available to cache.")
    mixed = kinds & {"toolUse", "toolResult"} and kinds - {"toolUse", "toolResult"}
    _demand(
        can_mix or not mixed,
        "Conversation blocks and tool result blocks cannot be provided in the same turn.",
    )
    for block in blocks:
        ((kind, content),) = block.items()
        if kind == "text":
            _demand(
                content.strip(), "The text field in the ContentBlock object at messages.2.content.1 is blank."
            )
        if kind == "image":
            _demand(role == "user", "'image' blocks are not permitted within assistant turns.")
        if kind in ("toolUse", "toolResult"):
            _demand(role == ("assistant" if kind == "toolUse" else "user"), f"{kind} in a turn of the {role}")
            _demand(
                WORDS.fullmatch(content["toolUseId"]),
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+",
            )
        if kind == "toolUse":
            _demand(isinstance(content["input"], dict), "The format of the value at input is invalid.")
        if kind == "toolResult":
            _bedrock_result(content["content"], has_images=can_mix)


def _bedrock_result(content: list[Json], *, has_images: bool) -> None:
    _demand(content, "The content field in the ToolResultBlock is empty.")
    for inner in content:
        _demand(inner.get("text", "x").strip(), "The text field in the ToolResultContentBlock is blank.")
        _demand(
            has_images or "image" not in inner,
            "This model doesn't support the image field for user messages.",
        )
        _demand(inner.keys() <= {"text", "image", "json"}, "unknown member")


# Google


GOOGLES_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}")
GOOGLES_IMAGES = {"image/jpeg", "image/png", "image/webp", "image/heic", "image/heif"}


def _google(body: Json, _method: str) -> None:
    turns = [(each["role"], each["parts"]) for each in body["contents"]]
    _demand(turns, "contents is not specified")
    for part in (body.get("systemInstruction") or {}).get("parts") or ():
        _demand(part["text"], "Unable to submit request because it has an empty text parameter.")
    for role, parts in turns:
        _demand(role in ("user", "model"), "Please use a valid role: user, model.")
        _demand(parts, "Unable to submit request because it must include at least one parts field")
        for part in parts:
            _google_part(part)
    _google_turns(turns)
    declared = [
        each["name"] for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()
    ]
    for name in declared:
        _demand(
            GOOGLES_NAME.fullmatch(name), "Invalid function name. Must start with a letter or an underscore."
        )
    calling = ((body.get("toolConfig") or {}).get("functionCallingConfig") or {}).get(
        "allowedFunctionNames"
    ) or ()
    _demand(set(calling) <= set(declared), "allowed_function_names must be declared")
    stops = (body.get("generationConfig") or {}).get("stopSequences")
    _demand(
        stops is None or 1 <= len(stops) <= 16, "the supported range is from 1 (inclusive) to 17 (exclusive)"
    )
    _demand(all(stops or ()), "stop sequences must not be empty")


def _google_part(part: Json) -> None:
    if "text" in part:
        _demand(part["text"].strip(), "Unable to submit request because it has an empty text parameter.")
    for name in ("functionCall", "functionResponse"):
        if name in part:
            _demand(GOOGLES_NAME.fullmatch(part[name]["name"]), "Invalid function name.")
            _demand("id" not in part[name], f'Unknown name "id" at {name}')
            _demand(
                isinstance(part[name].get("args", part[name].get("response")), dict),
                f"{name} must be a struct",
            )
    if "inlineData" in part:
        kind = (
            part["inlineData"].get("mimeType") or part["inlineData"]["mime_type"]
        )  # it takes both spellings
        _demand(kind in GOOGLES_IMAGES, f"Unsupported MIME type: {kind}")


def _google_turns(turns: list[tuple[str, list[Json]]]) -> None:
    _demand(turns[0][0] == "user", "Please ensure that the conversation starts with a user turn")
    for (before, parts_before), (role, parts) in pairwise([("model", []), *turns, ("user", [])]):
        calls = [part["functionCall"]["name"] for part in parts_before if "functionCall" in part]
        answered = [part["functionResponse"]["name"] for part in parts if "functionResponse" in part]
        _demand(
            calls == answered,
            "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
        )
        _demand(
            not answered or len(answered) == len(parts),
            "Requests ending with a model turn are not supported.",
        )
        after_results = any("functionResponse" in part for part in parts_before)
        _demand(
            role != before or not parts or after_results,
            "Please ensure that multiturn requests alternate between user and model.",
        )


# Cohere and AI21 Labs, whose messages are spelled as OpenAI's


COHERES_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")


def _cohere(body: Json, _model: str) -> None:
    _spelled_as_openais(body, names=COHERES_NAME)
    _demand(len(body.get("stop_sequences") or ()) <= 5, "too many stop sequences: at most 5 are allowed")
    _demand(all(body.get("stop_sequences") or ()), "stop sequences must not be empty")
    for message in body["messages"]:
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            _demand(
                part["type"] == "text" or message["role"] == "user",
                "image content is only valid for user messages",
            )


def _ai21(body: Json, _model: str) -> None:
    _spelled_as_openais(body, names=WORDS)
    roles = [each["role"] for each in body["messages"] if each["role"] not in ("system", "tool")]
    _begins_and_alternates_but_for_tools(body["messages"], roles)
    _demand(
        all(isinstance(each["content"], str) for each in body["messages"]),
        "content: Input should be a valid string",
    )
    _demand(all(body.get("stop") or ()), "stop sequences must not be empty")


def _begins_and_alternates_but_for_tools(messages: list[Json], roles: list[str]) -> None:
    _demand(roles[0] == "user", "messages must begin with the user's")
    for before, each in pairwise(messages):
        _demand(
            each["role"] == "tool" or each["role"] != before["role"],
            "messages must alternate between user and assistant",
        )


def _spelled_as_openais(body: Json, *, names: re.Pattern[str]) -> None:
    messages = body["messages"]
    _demand(
        any(each["role"] in ("user", "assistant") for each in messages), "at least one message of the user"
    )
    _demand(
        all(each["role"] != "system" for each in messages[1:]), "system turn must be the first in the list"
    )
    _demand(
        next(each["role"] for each in messages if each["role"] != "system") == "user",
        "the first turn must be the user's",
    )
    waiting: list[str] = []
    ids: list[str] = []
    declared = [tool["function"]["name"] for tool in body.get("tools") or ()]
    for message in messages:
        calls = message.get("tool_calls") or []
        says = any(text.strip() for text in _texts(message.get("content")))
        _demand(says or calls, "message must not be empty in a turn")
        if message["role"] == "tool":
            _demand(message["tool_call_id"] in waiting, "tool_call_id not found in the calls before")
            waiting.remove(message["tool_call_id"])
        else:
            _demand(
                not waiting,
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
            )
        for call in calls:
            _demand(
                call["id"] and isinstance(json.loads(call["function"]["arguments"]), dict),
                "invalid arguments",
            )
            _demand(names.fullmatch(call["function"]["name"]), "invalid tool name")
        waiting += [call["id"] for call in calls]
        ids += [call["id"] for call in calls]
    _demand(not waiting, "The following tool_call_ids did not have response messages")
    _unique(ids, "tool call ids must be unique")
    _demand(declared or not ids, "tools must be given when there are tool calls")
    _demand(all(names.fullmatch(name) for name in declared), "invalid tool name")


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        yield part.get("text", "an image")


# Completions of their own interfaces


def _generate(body: Json, _model: str) -> None:
    _demand(body["prompt"].strip(), "invalid request: prompt must be at least 1 token long.")
    _demand(len(body.get("end_sequences") or ()) <= 5, "too many stop sequences")


def _complete(body: Json, _model: str) -> None:
    """Claude's and Jurassic's."""
    _demand(body["prompt"].strip(), "prompt: must not be empty")
    _no_blank_stops(body.get("stop_sequences") or ())


_CHECKS: list[tuple[re.Pattern[str], Callable[[Json, str], None]]] = [
    (re.compile(r"/v1/messages$"), _anthropic),
    (re.compile(r"/v1/complete$"), _complete),
    (re.compile(r"/model/([^/]+)/converse"), _bedrock),
    (re.compile(r":(g|streamG)enerateContent"), _google),
    (re.compile(r"/v2/chat$"), _cohere),
    (re.compile(r"/v1/generate$"), _generate),
    (re.compile(r"/studio/v1/chat/completions$"), _ai21),
    (re.compile(r"/studio/v1/[^/]+/complete$"), _complete),
]
