"""Parses the request body of any vendor into one common shape, so that one expectation fits all vendors.

Tool results are separate turns here, whether the vendor has them as messages or as content of a user message. Vertex AI has no ids
of tool calls: they are empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class ToolCall:
    id: str
    name: str
    arguments: str = "{}"


@dataclass(frozen=True)
class ToolResult:
    id: str
    content: str


@dataclass(frozen=True)
class Picture:
    """An image."""

    shown: str
    """Media type, or URL."""


Item = str | ToolCall | ToolResult | Picture
Turn = tuple[Any, ...]
"""(`"user"`, `"assistant"` or `"results"`, item, …)."""


@dataclass(frozen=True)
class VendorRequest:
    system: str
    turns: list[Turn]
    tools: list[str]
    choice: str
    """`auto`, `any`, `none`, the name of a tool, or empty if the request sets no tool choice."""
    stops: list[str]


def parse_vendor_request(provider: str, body: Json) -> VendorRequest:
    """Parse a request body that was sent to this provider."""
    return _PARSERS[provider](body)


def _turns(messages: Iterator[tuple[str, list[Item]]]) -> list[Turn]:
    turns: list[Turn] = []
    for role, items in messages:
        for is_result, group in groupby(items, key=lambda item: isinstance(item, ToolResult)):
            shown = "results" if is_result else role
            if is_result and turns and turns[-1][0] == "results":
                turns[-1] += tuple(group)
            else:
                turns.append((shown, *group))
    return turns


def _anthropic(body: Json) -> VendorRequest:
    choice = body.get("tool_choice") or {}
    messages = (
        (each["role"], [_anthropic_item(block) for block in _listed(each["content"])])
        for each in body["messages"]
    )
    return VendorRequest(
        system="|".join(block["text"] for block in _listed(body.get("system") or [])),
        turns=_turns(messages),
        tools=[tool["name"] for tool in body.get("tools") or ()],
        choice=choice.get("name") or choice.get("type", ""),
        stops=body.get("stop_sequences") or [],
    )


def _listed(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _anthropic_item(block: Json) -> Item:
    match block["type"]:
        case "text":
            text: str = block["text"]
            return text
        case "tool_use":
            return ToolCall(block["id"], block["name"], json.dumps(block["input"]))
        case "tool_result":
            inner = [_anthropic_item(each) for each in _listed(block.get("content") or [])]
            return ToolResult(block["tool_use_id"], "".join(map(_shown, inner)))
    source = block["source"]
    return Picture(source.get("url") or source["media_type"])


def _shown(item: Item) -> str:
    return item if isinstance(item, str) else str(item)


def _bedrock(body: Json) -> VendorRequest:
    config = body.get("toolConfig") or {}
    ((choice, more),) = (config.get("toolChoice") or {"": {}}).items()
    messages = (
        (each["role"], [_bedrock_item(block) for block in each["content"]]) for each in body["messages"]
    )
    return VendorRequest(
        system="|".join(block["text"] for block in body.get("system") or ()),
        turns=_turns(messages),
        tools=[tool["toolSpec"]["name"] for tool in config.get("tools") or ()],
        choice=more.get("name") or choice,
        stops=(body.get("inferenceConfig") or {}).get("stopSequences") or [],
    )


def _bedrock_item(block: Json) -> Item:
    ((kind, content),) = block.items()
    if kind == "toolUse":
        return ToolCall(content["toolUseId"], content["name"], json.dumps(content["input"]))
    if kind == "toolResult":
        return ToolResult(
            content["toolUseId"], "".join(_shown(_bedrock_item(each)) for each in content["content"])
        )
    if kind == "image":
        return Picture("image/" + content["format"])
    return str(content)


def _google(body: Json) -> VendorRequest:
    config = ((body.get("toolConfig") or {}).get("functionCallingConfig")) or {}
    roles = {"user": "user", "model": "assistant"}
    messages = (
        (roles[each["role"]], [_google_item(part) for part in each["parts"]]) for each in body["contents"]
    )
    declared = (tool.get("functionDeclarations") or () for tool in body.get("tools") or ())
    return VendorRequest(
        system="|".join(part["text"] for part in (body.get("systemInstruction") or {}).get("parts") or ()),
        turns=_turns(messages),
        tools=[function["name"] for functions in declared for function in functions],
        choice="".join(config.get("allowedFunctionNames") or ()) or config.get("mode", "").lower(),
        stops=(body.get("generationConfig") or {}).get("stopSequences") or [],
    )


def _google_item(part: Json) -> Item:
    if "functionCall" in part:
        return ToolCall("", part["functionCall"]["name"], json.dumps(part["functionCall"]["args"]))
    if "functionResponse" in part:
        response = part["functionResponse"]["response"]
        output = response.get("output")
        return ToolResult(
            "", output if isinstance(output, str) and len(response) == 1 else json.dumps(response)
        )
    if "text" in part:
        text: str = part["text"]
        return text
    return Picture((part.get("inlineData") or {}).get("mimeType") or part["fileData"]["fileUri"])


def _openai_shaped(body: Json) -> VendorRequest:
    """Cohere and AI21, whose messages have OpenAI's shape."""
    system = [each for each in body["messages"] if each["role"] == "system"]
    messages = ((each["role"], list(_items(each))) for each in body["messages"] if each["role"] != "system")
    return VendorRequest(
        system="|".join(each["content"] for each in system),
        turns=_turns(messages),
        tools=[tool["function"]["name"] for tool in body.get("tools") or ()],
        choice={"REQUIRED": "any", "NONE": "none"}.get(body.get("tool_choice", ""), ""),
        stops=body.get("stop_sequences") or body.get("stop") or [],
    )


def _items(message: Json) -> Iterator[Item]:
    content: Any = message.get("content") or []
    if message["role"] == "tool":
        yield ToolResult(message["tool_call_id"], content)
        return
    parts: list[Json] = [{"text": content}] if isinstance(content, str) else content
    for part in parts:
        if "text" in part:
            yield part["text"]
        else:
            yield Picture(part["image_url"]["url"].partition(";")[0].removeprefix("data:"))
    for call in message.get("tool_calls") or ():
        yield ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])


_PARSERS: dict[str, Callable[[Json], VendorRequest]] = {
    "anthropic": _anthropic,
    "amazon-bedrock": _bedrock,
    "google-cloud-vertex-ai": _google,
    "cohere": _openai_shaped,
    "ai21labs": _openai_shaped,
}
