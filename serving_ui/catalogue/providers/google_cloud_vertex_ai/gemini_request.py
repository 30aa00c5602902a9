"""Translates chat and completion requests to the body of generateContent.

Vendor facts as of November 2026, docs.cloud.google.com: "GenerationConfig" and "FunctionDeclaration" of the REST reference (JSON
schemas go into responseJsonSchema and parametersJsonSchema), "Function calling" (modes AUTO, ANY, NONE, and VALIDATED, which
enforces the schema of calls), "Thinking" (levels since Gemini 3, where it cannot be disabled; token budgets before, with the values of
Google's OpenAI-compatible API).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import openai_request
from serving_ui.catalogue.providers.google_cloud_vertex_ai.gemini_contents import NAME, RULES, contents
from serving_ui.catalogue.providers.google_cloud_vertex_ai.models import generation
from serving_ui.catalogue.wire_format import Json

_RENAMED = {
    "temperature": "temperature",
    "top_p": "topP",
    "n": "candidateCount",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
_ENDING = ("max_tokens", "max_completion_tokens", "stop")
_CHAT = ("logprobs", "top_logprobs", "response_format", "tools", "tool_choice", "reasoning_effort")
_OWN_GENERATION = {
    *("topK", "responseModalities", "mediaResolution", "speechConfig", "audioTimestamp", "imageConfig"),
    *("responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig", "routingConfig"),
    *("candidateCount", "maxOutputTokens", "stopSequences", "modelConfig", "responseLogprobs"),
}
"""Google's own parameters of generationConfig. Callers may give them at the top level too, like OpenAI's parameters."""

_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"}
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_FIRST_GENERATION_WITH_LEVELS = 3
_MODES = {"none": "NONE", "required": "ANY"}


def chat(body: Mapping[str, Any], model: str) -> Json:
    """The body for a chat request. Raises UnsupportedRequest."""
    params = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(
        params, supported=("messages", *_RENAMED, *_ENDING, *_CHAT), provider=NAME
    )
    config = _generation(params) | _format(params) | _logprobs(params) | _thinking(params, model)
    return _with_own(contents(params, model) | _tools(params), config, own)


def completion(body: Mapping[str, Any], _model: str) -> Json:
    """The body for a completion request, whose prompt becomes one turn of the user. Raises UnsupportedRequest."""
    params = openai_request.merge_extra_params(body)
    own = openai_request.vendor_parameters(params, supported=("prompt", *_RENAMED, *_ENDING), provider=NAME)
    prompt = openai_request.single_prompt(params, RULES)
    sent: Json = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
    return _with_own(sent, _generation(params), own)


def _with_own(sent: Json, config: Json, own: Json) -> Json:
    """The body from `sent`, `config` and Google's own fields in `own`. Raises UnsupportedRequest if two of them conflict."""
    sent, config = dict(sent), dict(config)
    for name, value in own.items():
        key = camel(name)
        if key in _OWN_GENERATION:
            openai_request.merge_into(config, {key: value})
        elif key != "generationConfig":
            openai_request.merge_into(sent, {key: value})
        elif isinstance(value, dict):
            openai_request.merge_into(config, {camel(inner): each for inner, each in value.items()})
        else:
            raise openai_request.refuse(name, "It must be an object.")
    return {**sent, "generationConfig": config} if config else sent


def camel(name: str) -> str:
    """The camel-case form of a name: Google accepts both forms."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _generation(params: Mapping[str, Any]) -> Json:
    """The generationConfig. Values without effect are left out, because some models refuse penalties even if they are 0."""
    config = {
        google_name: params[openai_name]
        for openai_name, google_name in _RENAMED.items()
        if params.get(openai_name) is not None
        and not openai_request.has_no_effect(openai_name, params[openai_name])
    }
    max_tokens, stops = openai_request.max_tokens(params), openai_request.stop_sequences(params, RULES)
    if max_tokens is not None:
        config["maxOutputTokens"] = max_tokens
    if stops:
        config["stopSequences"] = stops
    return config


def _format(params: Mapping[str, Any]) -> Json:
    response_format = params.get("response_format")
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if response_format is None or kind == "text":
        return {}
    if kind == "json_object":
        return {"responseMimeType": "application/json"}
    described = response_format.get("json_schema") if kind == "json_schema" else None
    if not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        raise openai_request.refuse(
            "response_format",
            "Its type must be text, json_object, or json_schema with a json_schema that has a schema.",
        )
    return {"responseMimeType": "application/json", "responseJsonSchema": described["schema"]}


def _logprobs(params: Mapping[str, Any]) -> Json:
    wanted, top = openai_request.flag(params, "logprobs"), params.get("top_logprobs")
    if top and not wanted:
        raise openai_request.refuse("top_logprobs", "It needs logprobs to be true.")
    if not wanted:
        return {}
    return {"responseLogprobs": True} | ({} if top is None else {"logprobs": top})


def _thinking(params: Mapping[str, Any], model: str) -> Json:
    effort = params.get("reasoning_effort")
    if effort is None:
        return {}
    name: str = "thinkingLevel"
    known: Mapping[str, Any] = _LEVELS
    if 0 < generation(model) < _FIRST_GENERATION_WITH_LEVELS:  # 0: an unknown model, treated like the newest
        name, known = "thinkingBudget", _BUDGETS
    if not isinstance(effort, str) or effort not in known:
        raise openai_request.refuse(
            "reasoning_effort", f"With this model it must be one of: {', '.join(known)}."
        )
    return {"thinkingConfig": {name: known[effort]}}


def _tools(params: Mapping[str, Any]) -> Json:
    """Functions become declarations. An entry without a type is one of Google's own tools, such as {"googleSearch": {}}."""
    tools = params.get("tools") or []
    if not isinstance(tools, list):
        raise openai_request.refuse("tools", "It must be a list.")
    own = [tool for tool in tools if _is_own(tool)]
    listed = openai_request.functions({"tools": [tool for tool in tools if not _is_own(tool)]}, RULES)
    declared = [_declaration(function) for function in listed]
    sent: Json = {}
    if own or declared:
        sent["tools"] = [*([{"functionDeclarations": declared}] if declared else []), *own]
    mode = _mode(params, listed)
    if mode:
        sent["toolConfig"] = {"functionCallingConfig": mode}
    return sent


def _is_own(tool: Any) -> bool:
    return isinstance(tool, dict) and "type" not in tool and "function" not in tool


def _declaration(function: Mapping[str, Any]) -> Json:
    declared: Json = {"name": function["name"]}
    if function.get("description") is not None:
        declared["description"] = function["description"]
    if function.get("parameters") is not None:
        declared["parametersJsonSchema"] = function["parameters"]
    return declared


def _mode(params: Mapping[str, Any], functions: list[Json]) -> Json:
    """The mode of function calling. `strict` needs VALIDATED instead of AUTO; ANY always enforces the schema."""
    choice, name = openai_request.tool_choice({**params, "tools": functions}, RULES)
    if choice == "function":
        return {"mode": "ANY", "allowedFunctionNames": [name]}
    if choice in _MODES:
        return {"mode": _MODES[choice]}
    if any(function.get("strict") for function in functions):
        return {"mode": "VALIDATED"}
    return {"mode": "AUTO"} if choice else {}
