"""OpenAI-shaped question → the body of `POST /v2/chat`.

Vendor facts as of November 2026, docs.cohere.com/reference/chat: messages and tools are spelled as OpenAI's, parameters are not.
`p` goes from 0.01 to 0.99, penalties from 0 to 1, there is one answer a request, and no tool can be forced by name. Models that think do
so with all their strength unless they are told not to. …/reference/errors: the system's message is the first, and no message is
empty. The SDK's Tool says which names there are, and nothing says that calls may stand without their tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import conversation, openai_request
from serving_ui.catalogue.conversation import NOTHING, Said
from serving_ui.catalogue.openai_request import refuse
from serving_ui.catalogue.vendor_rules import Form, Rules
from serving_ui.catalogue.wire_format import Json

NAME = "Cohere"
RULES = Rules(
    provider=NAME,
    names=Form(first="A-Za-z_", rest="A-Za-z0-9_", most=64),
    ids=Form(rest="!-~", most=256),
    history_as_text=True,
    most_stops=5,
    images=frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"}),
    image_details=("auto", "low", "high"),
)
_LEAST_P, _MOST_P = 0.01, 0.99
_TAKEN = (
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "response_format",
    "tools",
    "tool_choice",
    "reasoning_effort",
)


def chat_body(body: Json, model: str) -> Json:
    """The body of a chat. The provider's own parameters (`k`, `documents`, `safety_mode`, …) go on as they are."""
    body = openai_request.merged(body)
    own = openai_request.own_fields(body, taken=_TAKEN, provider=NAME)
    read = conversation.read(body, RULES)
    system = "\n\n".join(each.text for each in read.system)
    first = [{"role": "system", "content": system}] if system else []
    sent = {
        "model": model,
        "messages": first + [_message(each) for each in read.said],
        **sampling(body),
        **_tools(body),
        **_format(body),
        **_thinking(body),
        **({"logprobs": True} if openai_request.flag(body, "logprobs") else {}),
        **({"stream": True} if body.get("stream") else {}),
    }
    return openai_request.joined(sent, own)


def sampling(body: Mapping[str, Any], *, stop: str = "stop_sequences") -> Json:
    """How the model chooses, and when it ends. `stop` is what the address calls the texts that end an answer."""
    return {
        name: value
        for name, value in {
            "max_tokens": openai_request.most_tokens(body),
            "temperature": openai_request.number(body, "temperature", least=0, most=2),
            "p": _mass(body),
            stop: openai_request.stops(body, RULES) or None,
            "seed": body.get("seed"),
            "frequency_penalty": openai_request.number(body, "frequency_penalty", least=0, most=1),
            "presence_penalty": openai_request.number(body, "presence_penalty", least=0, most=1),
        }.items()
        if value is not None
    }


def _mass(body: Mapping[str, Any]) -> float | None:
    """`top_p`. Many clients always say 1, all tokens; the most that Cohere has stands for it, because its own default is 0.75."""
    given = openai_request.number(body, "top_p", least=_LEAST_P, most=1)
    if given is not None and _MOST_P < given < 1:
        raise refuse("top_p", f"Here it must be a number from {_LEAST_P} to {_MOST_P}, or 1.")
    return _MOST_P if given == 1 else given


def _message(said: Said) -> Json:
    if said.answered is not None:
        return {"role": "tool", "tool_call_id": said.answered.id, "content": said.text or NOTHING}
    if said.is_of_assistant:
        return _said_before(said)
    if isinstance(said.given.get("content"), list):
        return {"role": "user", "content": [_part(part) for part in said.parts]}
    return {"role": "user", "content": said.text}


def _part(part: openai_request.Text | openai_request.Image) -> Json:
    if isinstance(part, openai_request.Text):
        return {"type": "text", "text": part.text}
    url = part.url or f"data:{part.kind};base64,{part.data}"
    return {
        "type": "image_url",
        "image_url": {"url": url, **({"detail": part.detail} if part.detail else {})},
    }


def _said_before(said: Said) -> Json:
    """What the assistant said before, with its calls and the plan that Cohere had given for them."""
    message: Json = {"role": "assistant"}
    if said.calls:
        message["tool_calls"] = conversation.spelled(said.calls)
        if said.given.get("tool_plan"):
            message["tool_plan"] = said.given["tool_plan"]
    return {**message, "content": said.text} if said.parts else message


def _tools(body: Mapping[str, Any]) -> Json:
    functions = openai_request.functions(body, RULES)
    kind, name = openai_request.choice_of_tool(body, RULES)
    if kind == "function" and [each["name"] for each in functions] == [name]:
        kind = "required"  # of one tool, which comes to the same
    elif kind == "function":
        raise refuse(
            "tool_choice", f"{NAME} cannot be made to call one tool. Say required, and give that tool alone."
        )
    if not functions:
        return {}
    strict = {bool(function.get("strict")) for function in functions}
    if len(strict) > 1:
        raise refuse(
            "tools", f"{NAME} is strict with every tool or with none. Give all functions the same strict."
        )
    tools = [
        {
            "type": "function",
            "function": {"parameters": {"type": "object", "properties": {}}}
            | {name: value for name, value in each.items() if name != "strict"},
        }
        for each in functions
    ]
    chosen = {"required": {"tool_choice": "REQUIRED"}, "none": {"tool_choice": "NONE"}}.get(kind, {})
    return {"tools": tools, **({"strict_tools": True} if strict == {True} else {}), **chosen}


def _format(body: Mapping[str, Any]) -> Json:
    given = body.get("response_format")
    if given is None:
        return {}
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    described = given.get("json_schema") if kind == "json_schema" else None
    if not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        raise refuse(
            "response_format",
            "Its type must be text, json_object, or json_schema with a json_schema that has a schema.",
        )
    return {"response_format": {"type": "json_object", "json_schema": described["schema"]}}


def _thinking(body: Mapping[str, Any]) -> Json:
    """Cohere thinks or does not; how long is said with its own parameter `thinking`."""
    effort = body.get("reasoning_effort")
    if effort is None:
        return {}
    if effort not in ("none", "high"):
        raise refuse(
            "reasoning_effort",
            f"{NAME} has none and high, and takes a token_budget in its parameter thinking.",
        )
    return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}
