"""Reads the messages of a question for vendors that are stricter than OpenAI. Pure; refuses with sentences that name the parameter.

Their rules are declared in their files and kept here: no blank text, a user who begins, calls with ids of their own and each with one
result, results before all else that the user says. Nothing is left out but what says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from serving_ui.catalogue import openai_request
from serving_ui.catalogue.openai_request import Image, Text, refuse
from serving_ui.catalogue.vendor_rules import Rules
from serving_ui.catalogue.wire_format import Json
from serving_ui.lib import json_text

FILLER = "."
"""Said by a side that a vendor wants to hear although it has said nothing: no vendor takes a blank text."""
NOTHING = "(empty)"
"""The result of a tool that gave none, for vendors that take no blank one."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call. `name` is the caller's, `id` and `called` are the vendor's; `arguments` is the object that `text` spells."""

    id: str
    name: str
    called: str
    arguments: Json
    text: str
    order: int
    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """One message that says something. `answered` is the call that a tool's message answers, `given` the message as it came."""

    role: str
    at: str
    parts: list[Text | Image] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    answered: ToolCall | None = None
    thoughts: list[Mapping[str, Any]] = field(default_factory=list)
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All its texts, for vendors that take one."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def is_of_assistant(self) -> bool:
        return self.role == "assistant"

    @property
    def is_empty(self) -> bool:
        return not (self.parts or self.calls or self.answered or self.thoughts)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the system says, and then everybody else in the order that the vendor wants."""

    system: list[Said]
    said: list[Said]

    @property
    def tools_called(self) -> list[str]:
        """The vendor's names of the tools that have been called, each once."""
        return list(dict.fromkeys(call.called for each in self.said for call in each.calls))


def read(body: Mapping[str, Any], rules: Rules) -> Conversation:
    """The conversation as these rules want it."""
    reader = _Reader(rules, told_as_text=rules.history_as_text and not offers_tools(body, rules))
    listed = [
        reader.said(message, f"messages[{n}]") for n, message in enumerate(openai_request.messages(body))
    ]
    reader.all_answered()
    said = [each for each in listed if each.role != "system"]
    if said and said[-1].is_empty and said[-1].role == "user":
        raise refuse(f"{said[-1].at}.content", f"{rules.provider} takes no empty message.")
    system = [each for each in listed if each.role == "system" and each.parts]
    said = list(_results_first(each for each in said if not each.is_empty))
    if not said and not system:
        raise refuse("messages", f"{rules.provider} takes no empty message.")
    if not said or said[0].is_of_assistant:
        said.insert(0, _filler("user"))
    said[-1] = _without_trailing_space(said[-1])
    return Conversation(system, list(_apart(said)) if rules.tools_apart else said)


def offers_tools(body: Mapping[str, Any], rules: Rules) -> bool:
    """Whether the vendor is told of tools."""
    if body.get(rules.own_tools):
        return True
    forbidden = openai_request.choice_of_tool(body, rules)[0] == "none" and not rules.can_forbid_tools
    return bool(body.get("tools")) and not forbidden


def merged(told: Iterable[tuple[str, list[Json]]]) -> list[tuple[str, list[Json]]]:
    """(role, blocks) with neighbours of one role as one."""
    turns: list[tuple[str, list[Json]]] = []
    for role, blocks in told:
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, list(blocks)))
    return turns


def spelled(calls: Iterable[ToolCall]) -> list[Json]:
    """For vendors that spell calls as OpenAI does, without what other vendors' answers have beside."""
    return [
        {"id": call.id, "type": "function", "function": {"name": call.called, "arguments": call.text}}
        for call in calls
    ]


def _filler(role: str) -> Said:
    return Said(role, "messages", [Text(FILLER)])


def _results_first(said: Iterable[Said]) -> Iterator[Said]:
    """What tools have answered comes before what the user adds, whichever was told first."""
    waiting: list[Said] = []
    for each in said:
        if each.is_of_assistant:
            yield from waiting
            waiting = []
            yield each
        elif each.answered:
            yield each
        else:
            waiting.append(each)
    yield from waiting


def _without_trailing_space(last: Said) -> Said:
    """An answer that the model is to go on with must not end with white space."""
    if not last.is_of_assistant or not last.parts or not isinstance(last.parts[-1], Text):
        return last
    text = last.parts[-1]
    return replace(last, parts=[*last.parts[:-1], replace(text, text=text.text.rstrip())])


def _apart(said: Iterable[Said]) -> Iterator[Said]:
    """Calls and results in turns of their own, with a filler of the other side between two turns of one side."""
    before: Said | None = None
    for each in said:
        halves = [replace(each, calls=[]), replace(each, parts=[])] if each.calls and each.parts else [each]
        for half in halves:
            if (
                before
                and before.is_of_assistant == half.is_of_assistant
                and _is_tool(before) != _is_tool(half)
            ):
                yield _filler("user" if half.is_of_assistant else "assistant")
            yield half
            before = half


def _is_tool(said: Said) -> bool:
    return bool(said.calls or said.answered)


class _Reader:
    """Message by message: which calls there were, and which of them wait for their results."""

    def __init__(self, rules: Rules, *, told_as_text: bool) -> None:
        self._rules = rules
        self._as_text = told_as_text
        self._taken: Counter[str] = Counter()
        self._waiting: list[tuple[str, ToolCall]] = []
        self._asked_at = ""

    def said(self, message: Json, at: str) -> Said:
        role = message["role"]
        parts = self._parts(message, at)
        if role == "assistant":
            return self._assistant(message, parts, at)
        if role != "tool":
            return Said(role, at, parts, given=message)
        call = self._answered(message.get("tool_call_id"), at)
        if self._as_text:
            name = call.name if call else message.get("name") or "that was called"
            told = Text(f"[The tool {name} answered:]\n")
            return Said("user", at, [told, *(parts or [Text(NOTHING)])], given=message)
        return Said(role, at, parts, answered=call, given=message)

    def all_answered(self) -> None:
        """Raise for a call without its result. Vendors refuse it, as OpenAI does."""
        if self._waiting and not self._as_text:
            sentence = "Each call must be answered by a message with the role tool and the id of the call."
            raise refuse(f"{self._asked_at}.tool_calls", sentence)

    def _assistant(self, message: Json, parts: list[Text | Image], at: str) -> Said:
        self.all_answered()
        thoughts = _thoughts(message, at) if self._rules.has_thoughts else []
        listed = openai_request.listed(message, "tool_calls", at=f"{at}.")
        calls = [self._call(call, f"{at}.tool_calls[{order}]", order) for order, call in enumerate(listed)]
        self._waiting = [(_id(call.given), call) for call in calls]
        self._asked_at = at
        if self._as_text:
            for call in calls:
                start = "\n" if parts else ""
                parts.append(Text(f"{start}[Called the tool {call.name} with {call.text}]"))
            calls = []
        return Said("assistant", at, parts, calls, thoughts=thoughts, given=message)

    def _call(self, given: Any, at: str, order: int) -> ToolCall:
        function = given.get("function") if isinstance(given, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise refuse(at, "It must have a function with a name.")
        arguments, text = _arguments(function.get("arguments"), f"{at}.function.arguments")
        name, own = function["name"], _id(given) or "call"
        unique = self._rules.ids.fit(own)
        while unique in self._taken:  # another vendor counts anew in each turn
            self._taken[own] += 1
            unique = self._rules.ids.fit(f"{own}-{self._taken[own]}")
        self._taken[unique] += 1
        return ToolCall(unique, name, self._rules.names.fit(name), arguments, text, order, given)

    def _answered(self, call_id: Any, at: str) -> ToolCall | None:
        """The call that this is the result of: of those that wait, the first with this id."""
        given = _id({"id": call_id})
        for position, (own, call) in enumerate(self._waiting):
            if given in (own, ""):
                del self._waiting[position]
                return call
        if self._as_text:
            return None
        raise refuse(
            f"{at}.tool_call_id", "It must be the id of a tool call in the assistant's message before."
        )

    def _parts(self, message: Json, at: str) -> list[Text | Image]:
        """What it says, without blank texts: what separates two texts stays at the end of the first."""
        rules, kept = self._rules, list[Text | Image]()
        read = openai_request.parts(
            message.get("content"), at=f"{at}.content", own=rules.part_fields, details=rules.image_details
        )
        for part in read:
            if isinstance(part, Image):
                _check_image(part, message["role"], f"{at}.content", rules)
                kept.append(part)
            elif part.text.strip():
                kept.append(part)
            elif kept and isinstance(last := kept[-1], Text):
                kept[-1] = replace(last, text=last.text + part.text)
        return kept


def _id(call: Mapping[str, Any]) -> str:
    """Empty where there is none. Some clients give numbers."""
    given = call.get("id")
    return "" if given is None else str(given)


def _check_image(image: Image, role: str, at: str, rules: Rules) -> None:
    if role not in rules.images_of or not rules.images:
        raise refuse(at, "An image cannot stand there.")
    if image.kind and image.kind not in rules.images:
        raise refuse(at, f"An image must be of one of these types: {', '.join(sorted(rules.images))}.")


def _arguments(given: Any, at: str) -> tuple[Json, str]:
    """The object, and its text as it was written. No arguments at all are an empty object."""
    value, text = _read(given, at) if isinstance(given, str) else (given, "")
    if value is None or value == {}:
        return {}, "{}"
    if not isinstance(value, dict):
        raise refuse(at, "It must be a JSON object as text.")
    return value, text or json_text.write(value).decode()


def _read(text: str, at: str) -> tuple[Any, str]:
    """What a text says, and the text unless it has a number that JSON does not have."""
    if not text.strip():
        return None, ""
    try:
        return json_text.read(text.encode(), json_text.QUESTION), text
    except ValueError:
        try:
            return json_text.read(text.encode(), json_text.QUESTION, lenient=True), ""
        except ValueError:
            raise refuse(at, "It must be a JSON object as text.") from None


def _thoughts(message: Json, at: str) -> list[Mapping[str, Any]]:
    """What an earlier answer has given as `thinking_blocks`: the model wants them back, signed as they were, when tools are used."""
    blocks = message.get("thinking_blocks") or []
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        raise refuse(f"{at}.thinking_blocks", "It must be the list that an earlier answer gave.")
    return blocks
