"""OpenAI-shaped questions as requests of Bedrock's Converse, which all chat models of Bedrock understand. Pure.

Vendor facts as of November 2026, docs.aws.amazon.com, API_runtime_Converse and "Supported models and model features": messages alternate,
system prompts stand apart, images are bytes or an object in S3, a tool's result is said by the user, and a model's own parameters go
into additionalModelRequestFields. Fields that Converse has and OpenAI has not (guardrailConfig, …) pass through under their names.
Legacy completions go the same way, with the prompt as the only message: Converse wraps it as each maker's models want it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from serving_ui.catalogue import questions
from serving_ui.catalogue.exchange import Json
from serving_ui.catalogue.questions import Image, Text, refuse

PROVIDER = "Amazon Bedrock"

_OWN = frozenset(
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
_COMMON = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "service_tier", "metadata")
_CHAT = ("messages", "tools", "tool_choice", "response_format", "reasoning_effort", *_COMMON)
# What a maker's chat models have under OpenAI's name beyond Converse ("Inference request parameters and response fields").
_MAKERS_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "cohere": ("seed", "frequency_penalty", "presence_penalty"),
    "ai21labs": ("frequency_penalty", "presence_penalty"),
}
_IMAGES = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_NOVA_EFFORTS = ("low", "medium", "high")
_TIERS = ("default", "flex", "priority", "reserved")


def of_chat(body: Mapping[str, Any], maker: str) -> Json:
    """The request for a chat."""
    body = questions.merged(body)
    makers = _MAKERS_PARAMETERS.get(maker, ())
    claudes = ("parallel_tool_calls",) if maker == "anthropic" else ()
    own = questions.own_fields(body, taken=(*_CHAT, *makers, *claudes), provider=PROVIDER)
    own |= {name: body[name] for name in makers if body.get(name) is not None}
    if maker == "amazon":
        own = questions.joined(_thinking_of_nova(body), own)
    system, said = _conversation(body)
    tools = _tools(body, said)
    if claudes and questions.calls_one_at_a_time(body) and tools:
        own = questions.joined({"tool_choice": _one_at_a_time(tools.pop("toolChoice", {"auto": {}}))}, own)
    sent = {
        "messages": said,
        "system": system,
        "toolConfig": tools,
        "outputConfig": _output(body, maker),
        **_settings(body, maker),
    }
    return _joined(own, sent)


def of_completion(body: Mapping[str, Any], maker: str) -> Json:
    """The request for a completion: its prompt is what the user says."""
    body = questions.merged(body)
    own = questions.own_fields(body, taken=("prompt", *_COMMON), provider=PROVIDER)
    prompts = questions.texts(body["prompt"], name="prompt")
    if len(prompts) != 1:
        raise refuse("prompt", "Amazon Bedrock takes one prompt a request.")
    said = [{"role": "user", "content": [{"text": prompts[0]}]}]
    return _joined(own, {"messages": said, **_settings(body, maker)})


def _joined(own: Json, sent: Json) -> Json:
    """What OpenAI's parameters have become, with Converse's own fields; what Converse does not have is the model's own parameter."""
    models = {name: value for name, value in own.items() if name not in _OWN}
    whole = {name: value for name, value in {**sent, "additionalModelRequestFields": models}.items() if value}
    for name, value in own.items():
        if name in _OWN:
            whole[name] = _both(name, value, whole[name]) if name in whole else value
    return whole


def _both(name: str, own: Any, sent: Any) -> Any:
    """Two lists follow each other, and two objects are one when they do not say the same thing twice."""
    if isinstance(own, list) and isinstance(sent, list):
        return [*own, *sent]
    if isinstance(own, dict) and isinstance(sent, dict) and not own.keys() & sent:
        return {**own, **sent}
    raise refuse(name, "Another parameter of this request already says it. Leave one of them out.")


def _settings(body: Mapping[str, Any], maker: str) -> Json:
    """How the model chooses and is served. Claude's later models take only one of the two numbers, or none: what they are anyhow is left unsaid."""
    unsaid = 1 if maker == "anthropic" else None
    inference = {
        "maxTokens": questions.most_tokens(body),
        "temperature": questions.number(body, "temperature", least=0, most=1),
        "topP": questions.number(body, "top_p", least=0, most=1),
        "stopSequences": questions.stops(body) or None,
    }
    tier = body.get("service_tier")
    if tier not in (None, "auto", *_TIERS):
        raise refuse("service_tier", f"{PROVIDER} has auto, {', '.join(_TIERS)}.")
    return {
        "inferenceConfig": {
            name: value
            for name, value in inference.items()
            if value is not None and (name == "maxTokens" or value != unsaid)
        },
        "serviceTier": {"type": tier} if tier in _TIERS else None,
        "requestMetadata": body.get("metadata"),
    }


def _output(body: Mapping[str, Any], maker: str) -> Json:
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


def _thinking_of_nova(body: Mapping[str, Any]) -> Json:
    """Amazon's own models are told in a parameter of theirs ("Nova 2: Using the Converse API")."""
    effort = body.get("reasoning_effort")
    if effort is None:
        return {}
    if effort == "none":
        return {"reasoningConfig": {"type": "disabled"}}
    if effort not in _NOVA_EFFORTS:
        raise refuse("reasoning_effort", f"It must be one of none, {', '.join(_NOVA_EFFORTS)}.")
    return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}


def _schema(wanted: Any) -> Json:
    given = wanted.get("json_schema")
    if not isinstance(given, dict) or not isinstance(given.get("schema"), dict):
        raise refuse("response_format", "It must have a json_schema with a schema.")
    schema = {"schema": to_json(given["schema"]).decode()}
    schema |= {name: given[name] for name in ("name", "description") if given.get(name)}
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _tools(body: Mapping[str, Any], said: list[Json]) -> Json:
    """Converse has no choice of "none": then the tools are left out, unless the conversation has used them already."""
    specifications: list[Json] = []
    for position, function in enumerate(questions.functions(body, own=("cache_control",))):
        specifications.append({"toolSpec": _tool(function)})
        if "cache_control" in function:
            point = _cache_point(function["cache_control"], f"tools[{position}]")
            specifications.append({"cachePoint": point})
    wanted, name = questions.choice_of_tool(body)
    if wanted == "none":
        if any(block.keys() & {"toolUse", "toolResult"} for turn in said for block in turn["content"]):
            raise refuse("tool_choice", f"{PROVIDER} cannot forbid tools that have been used before.")
        return {}
    if not specifications:
        return {}
    choices = {"auto": {"auto": {}}, "required": {"any": {}}, "function": {"tool": {"name": name}}}
    return {"tools": specifications} | ({"toolChoice": choices[wanted]} if wanted else {})


def _one_at_a_time(choice: Mapping[str, Json]) -> Json:
    """The choice in Claude's own words: Converse has none for this, and takes the choice in one of the two places only."""
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


def _conversation(body: Mapping[str, Any]) -> tuple[list[Json], list[Json]]:
    """The system prompts, and the turns: neighbours of one role are one turn, and a tool's result is what the user says."""
    system: list[Json] = []
    turns: list[Json] = []
    for position, message in enumerate(questions.messages(body)):
        at = f"messages[{position}]"
        if message["role"] == "system":
            system += _blocks(message, at)
            continue
        role, blocks = _turn(message, at)
        if not blocks:
            raise refuse(f"{at}.content", f"{PROVIDER} takes no empty message.")
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise refuse("messages", f"{PROVIDER} needs a message that is not the system's.")
    return system, turns


def _turn(message: Json, at: str) -> tuple[str, list[Json]]:
    if message["role"] == "tool":
        return "user", [_result(message, at)]
    blocks = _blocks(message, at)
    if message["role"] == "assistant":
        return "assistant", [*_thoughts(message, at), *blocks, *_uses(message, at)]
    return "user", blocks


def _blocks(message: Json, at: str) -> list[Json]:
    """Texts and images; a part that ends what is to be cached has a point for that after it."""
    at = f"{at}.content"
    blocks: list[Json] = []
    for part in questions.parts(message.get("content"), at=at, own=("cache_control",)):
        if isinstance(part, Text):
            blocks.append({"text": part.text})
        elif message["role"] == "system":
            raise refuse(at, "An image cannot stand there.")
        else:
            blocks.append(_image(part, at))
        if part.own:
            blocks.append({"cachePoint": _cache_point(part.own["cache_control"], at)})
    return blocks


def _cache_point(control: Any, at: str) -> Json:
    """Anthropic's spelling, which is also that of Databricks, in Bedrock's."""
    if (
        not isinstance(control, dict)
        or control.keys() - {"ttl"} != {"type"}
        or control["type"] != "ephemeral"
    ):
        raise refuse(f"{at}.cache_control", "It must be of type ephemeral, with a ttl or without.")
    return {"type": "default"} | ({"ttl": control["ttl"]} if control.get("ttl") else {})


def _result(message: Json, at: str) -> Json:
    answered = message.get("tool_call_id")
    if not isinstance(answered, str) or not answered:
        raise refuse(f"{at}.tool_call_id", "It must be the id of the tool call that is answered.")
    text = questions.text_only(message.get("content"), at=f"{at}.content")
    return {"toolResult": {"toolUseId": answered, "content": [{"text": text}] if text else []}}


def _uses(message: Json, at: str) -> list[Json]:
    return [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}
        for call in questions.tool_calls(message, at=at)
    ]


def _thoughts(message: Json, at: str) -> list[Json]:
    """What an earlier answer has given as `thinking_blocks`: the model wants them back, signed as they were, when tools are used."""
    given = message.get("thinking_blocks") or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise refuse(f"{at}.thinking_blocks", "It must be the list that an earlier answer gave.")
    return [{"reasoningContent": _reasoning(thought)} for thought in given]


def _reasoning(thought: Json) -> Json:
    if thought.get("type") == "redacted_thinking":
        return {"redactedContent": thought.get("data")}
    said = {"text": thought.get("thinking"), "signature": thought.get("signature")}
    return {"reasoningText": {name: value for name, value in said.items() if value is not None}}


def _image(image: Image, at: str) -> Json:
    source: Json
    if image.url.startswith("s3://"):
        form = image.url.rpartition(".")[2].lower()
        kind, source = f"image/{form}", {"s3Location": {"uri": image.url}}
    elif image.url:
        raise refuse(at, "Amazon Bedrock fetches no images. Give a data URL, or the s3:// address of one.")
    else:
        kind, source = image.kind, {"bytes": image.data}
    if kind not in _IMAGES:
        raise refuse(at, "An image must be a PNG, JPEG, GIF or WebP.")
    return {"image": {"format": _IMAGES[kind], "source": source}}
