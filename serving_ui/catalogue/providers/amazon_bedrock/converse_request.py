"""Translates requests in OpenAI's format to Bedrock's Converse API, which all chat models of Bedrock support. No I/O.

Vendor facts as of November 2026, docs.aws.amazon.com, API_runtime_Converse and "Supported models and model features": messages alternate,
system prompts have their own field, images are bytes or an object in S3, a tool's result is in a user message, and a model's own
parameters are in additionalModelRequestFields. Fields of Converse that OpenAI does not have (guardrailConfig, …) pass through.
Legacy completions use Converse too, with the prompt as the only message, which Converse formats for the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serving_ui.catalogue import conversation, openai_request
from serving_ui.catalogue.conversation import EMPTY_RESULT, ChatMessage
from serving_ui.catalogue.openai_request import ImagePart, TextPart, refuse
from serving_ui.catalogue.vendor_rules import IdentifierFormat, VendorRules
from serving_ui.catalogue.wire_format import Json
from serving_ui.lib import json_text

PROVIDER = "Amazon Bedrock"

_CONVERSE_FIELDS = frozenset(
    {
        "system",
        "inferenceConfig",
        "toolConfig",
        "guardrailConfig",
        "additionalModelRequestFields",
        "additionalModelResponseFieldPaths",
        "requestMetadata",
        "performanceConfig",
        "promptVariables",
        "serviceTier",
        "outputConfig",
    }
)
_SUPPORTED = (
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "service_tier",
    "metadata",
)
_SUPPORTED_IN_CHAT = ("messages", "tools", "tool_choice", "response_format", "reasoning_effort", *_SUPPORTED)
# By maker (the company whose model Bedrock hosts): parameters of its chat models that have OpenAI's names and are not in Converse
# ("Inference request parameters and response fields").
_MAKERS_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "cohere": ("seed", "frequency_penalty", "presence_penalty"),
    "ai21labs": ("frequency_penalty", "presence_penalty"),
}
_IMAGE_FORMATS = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_IDENTIFIER = IdentifierFormat(rest="A-Za-z0-9_-", max_length=64)
RULES = VendorRules(
    provider=PROVIDER,
    tool_names=_IDENTIFIER,
    call_ids=_IDENTIFIER,
    can_forbid_tools=False,
    history_as_text=True,
    vendor_tools_field="toolConfig",
    takes_thinking_blocks=True,
    separate_tool_turns=True,
    image_types=frozenset(_IMAGE_FORMATS),
    vendor_part_fields=("cache_control",),
)
"""The rules for makers that are not in `_MAKERS_RULES`. Some of their models refuse text in the same message as tool calls or results."""
_MAKERS_RULES: Mapping[str, VendorRules] = {
    "anthropic": replace(
        RULES, separate_tool_turns=False, image_roles=frozenset({"user", "tool"}), blank_stop_sequences=False
    ),
    "amazon": replace(RULES, separate_tool_turns=False, image_roles=frozenset({"user", "tool"})),
}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_NOVA_EFFORTS = ("low", "medium", "high")
_TIERS = ("default", "flex", "priority", "reserved")


def chat_body(body: Mapping[str, Any], maker: str) -> Json:
    """The Converse request of a chat."""
    body = openai_request.merge_extra_params(body)
    makers = _MAKERS_PARAMETERS.get(maker, ())
    claude_parameters = ("parallel_tool_calls",) if maker == "anthropic" else ()
    own = openai_request.vendor_parameters(
        body, supported=(*_SUPPORTED_IN_CHAT, *makers, *claude_parameters), provider=PROVIDER
    )
    own |= {name: body[name] for name in makers if body.get(name) is not None}
    if maker == "amazon":
        own = openai_request.merge_parameters(_nova_reasoning(body), own)
    rules = _MAKERS_RULES.get(maker, RULES)
    history = conversation.read(body, rules)
    tools = _tools(body, rules)
    if claude_parameters and openai_request.forbids_parallel_tool_calls(body) and tools:
        own = openai_request.merge_parameters(
            {"tool_choice": _without_parallel_calls(tools.pop("toolChoice", {"auto": {}}))}, own
        )
    sent = {
        "messages": [{"role": role, "content": blocks} for role, blocks in _turns(history.messages)],
        "system": [block for each in history.system for block in _blocks(each)],
        "toolConfig": tools,
        "outputConfig": _output_config(body, maker),
        **_settings(body, maker, rules),
    }
    return _merge_converse_fields(own, sent)


def completion_body(body: Mapping[str, Any], maker: str) -> Json:
    """The Converse request of a completion, with the prompt as a user message."""
    body = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(body, supported=("prompt", *_SUPPORTED), provider=PROVIDER)
    rules = _MAKERS_RULES.get(maker, RULES)
    messages = [{"role": "user", "content": [{"text": openai_request.single_prompt(body, rules)}]}]
    return _merge_converse_fields(own, {"messages": messages, **_settings(body, maker, rules)})


def _merge_converse_fields(own: Json, sent: Json) -> Json:
    """`sent` merged with the vendor's own fields: those of Converse at the top level, others as parameters of the model."""
    model_fields = {name: value for name, value in own.items() if name not in _CONVERSE_FIELDS}
    whole = {
        name: value for name, value in {**sent, "additionalModelRequestFields": model_fields}.items() if value
    }
    for name, value in own.items():
        if name in _CONVERSE_FIELDS:
            whole[name] = _merge_field(name, value, whole[name]) if name in whole else value
    return whole


def _merge_field(name: str, own: Any, sent: Any) -> Any:
    """Concatenates lists, and merges objects without common keys. Raises UnsupportedRequest otherwise."""
    if isinstance(own, list) and isinstance(sent, list):
        return [*own, *sent]
    if isinstance(own, dict) and isinstance(sent, dict) and not own.keys() & sent:
        return {**own, **sent}
    raise refuse(name, "Another parameter of this request sets the same option. Leave one of them out.")


def _settings(body: Mapping[str, Any], maker: str, rules: VendorRules) -> Json:
    """The inference parameters and the service tier.

    Newer Claude models accept only one of temperature and top_p, or none, so their default of 1 is left out for Claude.
    """
    default = 1 if maker == "anthropic" else None
    inference = {
        "maxTokens": openai_request.max_tokens(body),
        "temperature": openai_request.number(body, "temperature", minimum=0, maximum=1),
        "topP": openai_request.number(body, "top_p", minimum=0, maximum=1),
        "stopSequences": openai_request.stop_sequences(body, rules) or None,
    }
    tier = body.get("service_tier")
    if tier not in (None, "auto", *_TIERS):
        raise refuse("service_tier", f"{PROVIDER} supports auto, {', '.join(_TIERS)}.")
    return {
        "inferenceConfig": {
            name: value
            for name, value in inference.items()
            if value is not None and (name == "maxTokens" or value != default)
        },
        "serviceTier": {"type": tier} if tier in _TIERS else None,
        "requestMetadata": body.get("metadata"),
    }


def _output_config(body: Mapping[str, Any], maker: str) -> Json:
    output: Json = {}
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind == "json_schema":
        output["textFormat"] = _schema(wanted)
    elif kind not in (None, "text"):
        raise refuse("response_format", "It must be of type text or json_schema.")
    effort = body.get("reasoning_effort")
    if effort is not None and maker != "amazon":
        if effort not in _EFFORTS:
            raise refuse("reasoning_effort", f"It must be one of {', '.join(_EFFORTS)}.")
        output["effort"] = effort
    return output


def _nova_reasoning(body: Mapping[str, Any]) -> Json:
    """The reasoning parameter of Amazon's own models ("Nova 2: Using the Converse API")."""
    effort = body.get("reasoning_effort")
    if effort is None:
        return {}
    if effort == "none":
        return {"reasoningConfig": {"type": "disabled"}}
    if effort not in _NOVA_EFFORTS:
        raise refuse("reasoning_effort", f"It must be one of none, {', '.join(_NOVA_EFFORTS)}.")
    return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}


def _schema(response_format: Any) -> Json:
    described = response_format.get("json_schema")
    if not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        raise refuse("response_format", "It must have a json_schema with a schema.")
    schema = {"schema": json_text.write(described["schema"]).decode()}
    schema |= {name: described[name] for name in ("name", "description") if described.get(name)}
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _tools(body: Mapping[str, Any], rules: VendorRules) -> Json:
    """`toolConfig`. Converse has no tool choice "none": the tools are then left out, and earlier calls are sent as text."""
    specifications: list[Json] = []
    for position, function in enumerate(
        openai_request.functions(body, rules, vendor_fields=("cache_control",))
    ):
        specifications.append({"toolSpec": _tool(function)})
        if "cache_control" in function:
            point = _cache_point(function["cache_control"], f"tools[{position}]")
            specifications.append({"cachePoint": point})
    wanted, name = openai_request.tool_choice(body, rules)
    if wanted == "none" or not specifications:
        return {}
    choices = {"auto": {"auto": {}}, "required": {"any": {}}, "function": {"tool": {"name": name}}}
    return {"tools": specifications} | ({"toolChoice": choices[wanted]} if wanted else {})


def _without_parallel_calls(choice: Mapping[str, Json]) -> Json:
    """The tool choice as Claude's own parameter, because Converse cannot disable parallel calls and refuses a choice in both places."""
    ((kind, more),) = choice.items()
    return {"type": kind, **more, "disable_parallel_tool_use": True}


def _tool(function: Json) -> Json:
    tool: Json = {"name": function["name"]}
    if function.get("description"):
        tool["description"] = function["description"]
    tool["inputSchema"] = {"json": function.get("parameters") or {"type": "object", "properties": {}}}
    if function.get("strict") is not None:
        tool["strict"] = function["strict"]
    return tool


def _turns(messages: list[ChatMessage]) -> list[tuple[str, list[Json]]]:
    """Turns of alternating roles; tool results are in user turns."""
    return conversation.merge_turns(
        ("assistant" if each.is_assistant else "user", _content_blocks(each)) for each in messages
    )


def _content_blocks(message: ChatMessage) -> list[Json]:
    blocks = _blocks(message)
    if message.answered_call is not None:
        points = [block for block in blocks if "cachePoint" in block]
        content = [block for block in blocks if "cachePoint" not in block] or [{"text": EMPTY_RESULT}]
        return [{"toolResult": {"toolUseId": message.answered_call.id, "content": content}}, *points]
    used = [
        {"toolUse": {"toolUseId": call.id, "name": call.vendor_name, "input": call.arguments}}
        for call in message.calls
    ]
    thoughts = [{"reasoningContent": _reasoning(thought)} for thought in message.thinking_blocks]
    return [*thoughts, *blocks, *used]


def _blocks(message: ChatMessage) -> list[Json]:
    """Text and image blocks, with a cachePoint after each part that has `cache_control`."""
    at = f"{message.path}.content"
    blocks: list[Json] = []
    for part in message.parts:
        blocks.append({"text": part.text} if isinstance(part, TextPart) else _image(part, at))
        if part.vendor_fields:
            blocks.append({"cachePoint": _cache_point(part.vendor_fields["cache_control"], at)})
    return blocks


def _cache_point(control: Any, at: str) -> Json:
    """Bedrock's cachePoint for the `cache_control` of Anthropic and Databricks."""
    if (
        not isinstance(control, dict)
        or control.keys() - {"ttl"} != {"type"}
        or control["type"] != "ephemeral"
    ):
        raise refuse(f"{at}.cache_control", "It must be of type ephemeral, with a ttl or without.")
    return {"type": "default"} | ({"ttl": control["ttl"]} if control.get("ttl") else {})


def _reasoning(thought: Mapping[str, Any]) -> Json:
    if thought.get("type") == "redacted_thinking":
        return {"redactedContent": thought.get("data")}
    text = {"text": thought.get("thinking"), "signature": thought.get("signature")}
    return {"reasoningText": {name: value for name, value in text.items() if value is not None}}


def _image(image: ImagePart, at: str) -> Json:
    source: Json
    if image.url.startswith("s3://"):
        form = image.url.rpartition(".")[2].lower()
        kind, source = f"image/{form}", {"s3Location": {"uri": image.url}}
    elif image.url:
        raise refuse(at, "Amazon Bedrock fetches no images. Give a data URL, or the s3:// address of one.")
    else:
        kind, source = image.media_type, {"bytes": image.data}
    if kind not in _IMAGE_FORMATS:
        raise refuse(at, "An image must be a PNG, JPEG, GIF or WebP.")
    return {"image": {"format": _IMAGE_FORMATS[kind], "source": source}}
