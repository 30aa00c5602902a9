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
from serving_ui.catalogue.questions import Image, refuse

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
_SAMPLING = {"temperature": "temperature", "top_p": "topP"}
_COMMON = (*_SAMPLING, "max_tokens", "max_completion_tokens", "stop", "service_tier", "metadata")
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
_TIERS = ("default", "flex", "priority", "reserved")


def of_chat(body: Mapping[str, Any], maker: str) -> Json:
    """The request for a chat."""
    makers = _MAKERS_PARAMETERS.get(maker, ())
    own = questions.own_fields(body, taken=(*_CHAT, *makers), provider=PROVIDER)
    own |= {name: body[name] for name in makers if body.get(name) is not None}
    system, said = _conversation(body)
    sent: Json = {"messages": said}
    if system:
        sent["system"] = system
    tools = _tools(body, said)
    if tools:
        sent["toolConfig"] = tools
    output = _output(body)
    if output:
        sent["outputConfig"] = output
    return _merged(own, sent | _settings(body))


def of_completion(body: Mapping[str, Any], _maker: str) -> Json:
    """The request for a completion: its prompt is what the user says."""
    own = questions.own_fields(body, taken=("prompt", *_COMMON), provider=PROVIDER)
    prompts = questions.texts(body["prompt"], name="prompt")
    if len(prompts) != 1:
        raise refuse("prompt", "Amazon Bedrock takes one prompt a request.")
    said = [{"role": "user", "content": [{"text": prompts[0]}]}]
    return _merged(own, {"messages": said} | _settings(body))


def _merged(own: Json, sent: Json) -> Json:
    """Converse's own fields beside ours, which win; what Converse does not have is the model's own parameter."""
    merged = {name: value for name, value in own.items() if name in _OWN}
    models = {name: value for name, value in own.items() if name not in _OWN}
    if models:
        sent = {**sent, "additionalModelRequestFields": models}
    for name, value in sent.items():
        given = merged.get(name)
        if isinstance(given, dict) and isinstance(value, dict):
            merged[name] = given | value
        elif isinstance(given, list) and isinstance(value, list):
            merged[name] = given + value
        else:
            merged[name] = value
    return merged


def _settings(body: Mapping[str, Any]) -> Json:
    inference: Json = {theirs: body[ours] for ours, theirs in _SAMPLING.items() if body.get(ours) is not None}
    most = questions.most_tokens(body)
    if most is not None:
        inference["maxTokens"] = most
    stops = questions.stops(body)
    if stops:
        inference["stopSequences"] = stops
    settings: Json = {"inferenceConfig": inference} if inference else {}
    tier = body.get("service_tier")
    if tier not in (None, "auto"):
        if tier not in _TIERS:
            raise refuse("service_tier", f"It must be auto, {', '.join(_TIERS[:-1])} or {_TIERS[-1]}.")
        settings["serviceTier"] = {"type": tier}
    if body.get("metadata"):
        settings["requestMetadata"] = body["metadata"]
    return settings


def _output(body: Mapping[str, Any]) -> Json:
    output: Json = {}
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind == "json_schema":
        output["textFormat"] = _schema(wanted)
    elif kind not in (None, "text"):
        raise refuse("response_format", "It must be of type text or json_schema.")
    effort = body.get("reasoning_effort")
    if effort is not None:
        if effort not in _EFFORTS:
            raise refuse("reasoning_effort", f"It must be one of {', '.join(_EFFORTS)}.")
        output["effort"] = effort
    return output


def _schema(wanted: Any) -> Json:
    given = wanted.get("json_schema")
    if not isinstance(given, dict) or not isinstance(given.get("schema"), dict):
        raise refuse("response_format", "It must have a json_schema with a schema.")
    schema = {"schema": to_json(given["schema"]).decode()}
    schema |= {name: given[name] for name in ("name", "description") if given.get(name)}
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _tools(body: Mapping[str, Any], said: list[Json]) -> Json:
    """Converse has no choice of "none": then the tools are left out, unless the conversation has used them already."""
    specifications = [{"toolSpec": _tool(function)} for function in questions.functions(body)]
    wanted = body.get("tool_choice")
    if wanted == "none":
        if any(block.keys() & {"toolUse", "toolResult"} for turn in said for block in turn["content"]):
            raise refuse("tool_choice", "Amazon Bedrock cannot forbid tools that have been used before.")
        return {}
    if not specifications:
        if wanted not in (None, "auto"):
            raise refuse("tool_choice", "There are no tools to choose from.")
        return {}
    return {"tools": specifications} | ({} if wanted is None else {"toolChoice": _choice(wanted)})


def _tool(function: Json) -> Json:
    tool: Json = {"name": function["name"]}
    if function.get("description"):
        tool["description"] = function["description"]
    tool["inputSchema"] = {"json": function.get("parameters") or {"type": "object", "properties": {}}}
    if function.get("strict") is not None:
        tool["strict"] = function["strict"]
    return tool


def _choice(wanted: Any) -> Json:
    if wanted in ("auto", "required"):
        return {"auto": {}} if wanted == "auto" else {"any": {}}
    function = wanted.get("function") if isinstance(wanted, dict) and wanted.get("type") == "function" else {}
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise refuse("tool_choice", "It must be auto, required, none or a function by its name.")
    return {"tool": {"name": function["name"]}}


def _conversation(body: Mapping[str, Any]) -> tuple[list[Json], list[Json]]:
    """The system prompts, and the turns: neighbours of one role are one turn, and empty messages say nothing."""
    system: list[Json] = []
    turns: list[Json] = []
    for position, message in enumerate(questions.messages(body)):
        at = f"messages[{position}]"
        if message["role"] == "system":
            text = questions.text_only(message.get("content"), at=f"{at}.content")
            system += [{"text": text}] if text else []
            continue
        role, blocks = _turn(message, at)
        if blocks and turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise refuse("messages", "It must have a message of the user that is not empty.")
    return system, turns


def _turn(message: Json, at: str) -> tuple[str, list[Json]]:
    if message["role"] == "tool":
        return "user", [_result(message, at)]
    blocks = [
        _image(part, f"{at}.content") if isinstance(part, Image) else {"text": part.text}
        for part in questions.parts(message.get("content"), at=f"{at}.content")
    ]
    if message["role"] == "assistant":
        return "assistant", [*_thoughts(message), *blocks, *_uses(message, at)]
    return "user", blocks


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


def _thoughts(message: Json) -> list[Json]:
    """What a model has thought before it used a tool: it wants it back, signed as it was (`thinking_blocks` of our answers)."""
    blocks: list[Json] = []
    for thought in message.get("thinking_blocks") or ():
        kind = thought.get("type") if isinstance(thought, dict) else None
        if kind == "redacted_thinking":
            blocks.append({"reasoningContent": {"redactedContent": thought.get("data")}})
        elif kind == "thinking":
            text = {"text": thought.get("thinking"), "signature": thought.get("signature")}
            said = {name: value for name, value in text.items() if value is not None}
            blocks.append({"reasoningContent": {"reasoningText": said}})
    return blocks


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
