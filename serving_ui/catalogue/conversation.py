"""Reads the messages of a chat request for vendors that are stricter than OpenAI. No I/O; errors name the parameter.

Applied here for every vendor: no blank text, a user message first, a unique id for each tool call, exactly one result for each call,
results before other content of the same user turn. `VendorRules` says what else a vendor requires. Only blank content is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from serving_ui.catalogue import openai_request
from serving_ui.catalogue.openai_request import ImagePart, TextPart, refuse
from serving_ui.catalogue.vendor_rules import VendorRules
from serving_ui.catalogue.wire_format import Json
from serving_ui.lib import json_text

FILLER_TEXT = "."
"""Text of a message inserted where a vendor requires one and there is none: no vendor accepts a blank text."""
EMPTY_RESULT = "(empty)"
"""Sent for a tool result without content, to vendors that accept no blank text."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call. `arguments` is `arguments_json` parsed; `position` is that within its message; `original` is the caller's object."""

    id: str
    """Unique in the conversation, in the vendor's format."""
    name: str
    vendor_name: str
    """The name in the vendor's format; the same as `name` if the vendor accepts that."""
    arguments: Json
    arguments_json: str
    position: int
    original: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message. `path` names it in errors, such as messages[3]; `original` is the caller's object."""

    role: str
    path: str
    parts: list[TextPart | ImagePart] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    answered_call: ToolCall | None = None
    """The call that a message with the role `tool` answers."""
    thinking_blocks: list[Mapping[str, Any]] = field(default_factory=list)
    original: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All text parts joined, for vendors that accept one text."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def is_assistant(self) -> bool:
        return self.role == "assistant"

    @property
    def is_empty(self) -> bool:
        return not (self.parts or self.calls or self.answered_call or self.thinking_blocks)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The system's messages, and all others in the order that the vendor requires."""

    system: list[ChatMessage]
    messages: list[ChatMessage]

    @property
    def system_messages(self) -> list[Json]:
        """The system's messages as one in OpenAI's format, for vendors that accept one text; none without a text."""
        text = "\n\n".join(each.text for each in self.system)
        return [{"role": "system", "content": text}] if text else []

    @property
    def called_tool_names(self) -> list[str]:
        """The vendor's names of the tools that have been called, without duplicates."""
        return list(dict.fromkeys(call.vendor_name for message in self.messages for call in message.calls))


def read(body: Mapping[str, Any], rules: VendorRules) -> Conversation:
    """The conversation in the form that the rules require. Raises UnsupportedRequest."""
    reader = _MessageReader(rules, tools_as_text=rules.history_as_text and not offers_tools(body, rules))
    listed = [
        reader.read(message, f"messages[{n}]") for n, message in enumerate(openai_request.messages(body))
    ]
    reader.require_results()
    messages = [each for each in listed if each.role != "system"]
    if messages and messages[-1].is_empty and messages[-1].role == "user":
        raise refuse(f"{messages[-1].path}.content", f"{rules.provider} takes no empty message.")
    system = [each for each in listed if each.role == "system" and each.parts]
    messages = list(_tool_results_first(each for each in messages if not each.is_empty))
    if not messages and not system:
        raise refuse("messages", f"{rules.provider} takes no empty message.")
    if not messages or messages[0].is_assistant:
        messages.insert(0, _filler("user"))
    messages[-1] = _without_trailing_space(messages[-1])
    return Conversation(
        system, list(_separate_tool_turns(messages)) if rules.separate_tool_turns else messages
    )


def offers_tools(body: Mapping[str, Any], rules: VendorRules) -> bool:
    """Whether the request to the vendor lists tools."""
    if body.get(rules.vendor_tools_field):
        return True
    forbidden = openai_request.tool_choice(body, rules)[0] == "none" and not rules.can_forbid_tools
    return bool(body.get("tools")) and not forbidden


def merge_turns(messages: Iterable[tuple[str, list[Json]]]) -> list[tuple[str, list[Json]]]:
    """(role, content blocks) of messages, with consecutive messages of one role merged."""
    turns: list[tuple[str, list[Json]]] = []
    for role, blocks in messages:
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, list(blocks)))
    return turns


def openai_tool_calls(calls: Iterable[ToolCall]) -> list[Json]:
    """Tool calls in OpenAI's format, without the fields that other vendors' responses add."""
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.vendor_name, "arguments": call.arguments_json},
        }
        for call in calls
    ]


def _filler(role: str) -> ChatMessage:
    return ChatMessage(role, "messages", [TextPart(FILLER_TEXT)])


def _tool_results_first(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """Between two messages of the assistant, tool results come before the user's messages."""
    users: list[ChatMessage] = []
    for message in messages:
        if message.is_assistant:
            yield from users
            users = []
            yield message
        elif message.answered_call:
            yield message
        else:
            users.append(message)
    yield from users


def _without_trailing_space(last: ChatMessage) -> ChatMessage:
    """An assistant message that the model is to continue must not end with white space."""
    if not last.is_assistant or not last.parts or not isinstance(last.parts[-1], TextPart):
        return last
    text = last.parts[-1]
    return replace(last, parts=[*last.parts[:-1], replace(text, text=text.text.rstrip())])


def _separate_tool_turns(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """Tool calls and results in turns of their own, with a filler message of the other role between two turns of one role."""
    before: ChatMessage | None = None
    for message in messages:
        has_both = message.calls and message.parts
        halves = [replace(message, calls=[]), replace(message, parts=[])] if has_both else [message]
        for half in halves:
            if before and before.is_assistant == half.is_assistant and _is_tool(before) != _is_tool(half):
                yield _filler("user" if half.is_assistant else "assistant")
            yield half
            before = half


def _is_tool(message: ChatMessage) -> bool:
    return bool(message.calls or message.answered_call)


class _MessageReader:
    """Reads messages in their order, and remembers the ids of tool calls and the calls without a result."""

    def __init__(self, rules: VendorRules, *, tools_as_text: bool) -> None:
        self._rules = rules
        self._as_text = tools_as_text
        self._used_ids: Counter[str] = Counter()
        self._calls_without_result: list[tuple[str, ToolCall]] = []
        """(the caller's id, the call)"""
        self._calls_path = ""

    def read(self, message: Json, path: str) -> ChatMessage:
        role = message["role"]
        parts = self._parts(message, path)
        if role == "assistant":
            return self._assistant(message, parts, path)
        if role != "tool":
            return ChatMessage(role, path, parts, original=message)
        call = self._answered_call(message.get("tool_call_id"), path)
        if self._as_text:
            name = call.name if call else message.get("name") or "that was called"
            heading = TextPart(f"[The tool {name} answered:]\n")
            return ChatMessage(
                "user", path, [heading, *(parts or [TextPart(EMPTY_RESULT)])], original=message
            )
        return ChatMessage(role, path, parts, answered_call=call, original=message)

    def require_results(self) -> None:
        """Raise UnsupportedRequest for a call without a result, which OpenAI refuses as well."""
        if self._calls_without_result and not self._as_text:
            sentence = "Each call must be answered by a message with the role tool and the id of the call."
            raise refuse(f"{self._calls_path}.tool_calls", sentence)

    def _assistant(self, message: Json, parts: list[TextPart | ImagePart], path: str) -> ChatMessage:
        self.require_results()
        thinking = _thinking_blocks(message, path) if self._rules.takes_thinking_blocks else []
        listed = openai_request.list_field(message, "tool_calls", path=f"{path}.")
        calls = [self._call(call, f"{path}.tool_calls[{n}]", n) for n, call in enumerate(listed)]
        self._calls_without_result = [(_call_id(call.original), call) for call in calls]
        self._calls_path = path
        if self._as_text:
            for call in calls:
                start = "\n" if parts else ""
                parts.append(TextPart(f"{start}[Called the tool {call.name} with {call.arguments_json}]"))
            calls = []
        return ChatMessage("assistant", path, parts, calls, thinking_blocks=thinking, original=message)

    def _call(self, call: Any, path: str, position: int) -> ToolCall:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise refuse(path, "It must have a function with a name.")
        arguments, text = _arguments(function.get("arguments"), f"{path}.function.arguments")
        name, caller_id = function["name"], _call_id(call) or "call"
        unique = self._rules.call_ids.fit(caller_id)
        while unique in self._used_ids:  # some vendors number the calls of each turn from the start
            self._used_ids[caller_id] += 1
            unique = self._rules.call_ids.fit(f"{caller_id}-{self._used_ids[caller_id]}")
        self._used_ids[unique] += 1
        return ToolCall(unique, name, self._rules.tool_names.fit(name), arguments, text, position, call)

    def _answered_call(self, call_id: Any, path: str) -> ToolCall | None:
        """The first unanswered call with this id; the first of all if the id is empty."""
        wanted = _call_id({"id": call_id})
        for position, (caller_id, call) in enumerate(self._calls_without_result):
            if wanted in (caller_id, ""):
                del self._calls_without_result[position]
                return call
        if self._as_text:
            return None
        raise refuse(
            f"{path}.tool_call_id",
            "It must be the id of a tool call in the previous message of the assistant.",
        )

    def _parts(self, message: Json, path: str) -> list[TextPart | ImagePart]:
        """The content without blank texts. White space between two texts is appended to the first."""
        rules, parts = self._rules, list[TextPart | ImagePart]()
        path = f"{path}.content"
        for part in openai_request.content_parts(
            message.get("content"),
            path=path,
            vendor_fields=rules.vendor_part_fields,
            details=rules.image_details,
        ):
            if isinstance(part, ImagePart):
                _check_image(part, message["role"], path, rules)
                parts.append(part)
            elif part.text.strip():
                parts.append(part)
            elif parts and isinstance(last := parts[-1], TextPart):
                parts[-1] = replace(last, text=last.text + part.text)
        return parts


def _call_id(call: Mapping[str, Any]) -> str:
    """The id as text, because some clients send numbers; empty if there is none."""
    call_id = call.get("id")
    return "" if call_id is None else str(call_id)


def _check_image(image: ImagePart, role: str, path: str, rules: VendorRules) -> None:
    if role not in rules.image_roles or not rules.image_types:
        raise refuse(path, f"{rules.provider} does not accept an image here.")
    if image.media_type and image.media_type not in rules.image_types:
        raise refuse(path, f"An image must be of one of these types: {', '.join(sorted(rules.image_types))}.")


def _arguments(arguments: Any, path: str) -> tuple[Json, str]:
    """The arguments as an object and as JSON text. Missing arguments are an empty object."""
    value, text = _parse_arguments(arguments, path) if isinstance(arguments, str) else (arguments, "")
    if value is None or value == {}:
        return {}, "{}"
    if not isinstance(value, dict):
        raise refuse(path, "It must be a JSON object as text.")
    return value, text or json_text.write(value).decode()


def _parse_arguments(text: str, path: str) -> tuple[Any, str]:
    """The parsed value, and the text; an empty text if it contains NaN or Infinity, which are no JSON."""
    if not text.strip():
        return None, ""
    try:
        return json_text.read(text.encode(), json_text.REQUEST_BOUNDS), text
    except ValueError:
        try:
            return json_text.read(text.encode(), json_text.REQUEST_BOUNDS, lenient=True), ""
        except ValueError:
            raise refuse(path, "It must be a JSON object as text.") from None


def _thinking_blocks(message: Json, path: str) -> list[Mapping[str, Any]]:
    """The `thinking_blocks` of an earlier response. With tools the model requires them back unchanged, with their signatures."""
    blocks = message.get("thinking_blocks") or []
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        raise refuse(f"{path}.thinking_blocks", "It must be the list of an earlier answer, unchanged.")
    return blocks
