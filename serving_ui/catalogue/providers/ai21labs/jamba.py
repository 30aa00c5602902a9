"""Jamba: OpenAI-shaped question → the body of `POST /chat/completions`, and its answers back.

Vendor facts as of November 2026, docs.ai21.com/reference/jamba-1-6-api-ref. The wire is close to OpenAI's; answers and chunks lack
`object`, `created` and often `model`, contents are texts only, no tool can be chosen, and `n` goes up to 16, but must be 1 in a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_ui.catalogue import answers, questions
from serving_ui.catalogue.exchange import Asked, Event, Json
from serving_ui.catalogue.questions import refuse

NAME = "AI21 Labs"
_MOST_ANSWERS = 16
_TAKEN = (
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "n",
    "tools",
    "tool_choice",
    "response_format",
)


def chat_body(body: Json, model: str) -> Json:
    body = questions.merged(body)
    own = questions.own_fields(body, taken=_TAKEN, provider=NAME)
    messages = [_message(each, f"messages[{n}]") for n, each in enumerate(questions.messages(body))]
    return {"model": model, "messages": messages, **sampling(body), **_tools(body), **_format(body), **own}


def sampling(body: Mapping[str, Any]) -> Json:
    """How the model chooses, when it ends, how many answers it gives, and whether it streams."""
    count = questions.number(body, "n", least=1, most=_MOST_ANSWERS)
    if body.get("stream") and (count or 1) > 1:
        raise refuse("n", f"{NAME} streams one answer only. Leave it out, or leave out stream.")
    given = {
        "max_tokens": questions.most_tokens(body),
        "temperature": questions.number(body, "temperature", least=0, most=2),
        "top_p": questions.number(body, "top_p", least=0, most=1),
        "stop": questions.stops(body) or None,
        "n": count,
        "stream": True if body.get("stream") else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _message(given: Json, at: str) -> Json:
    content = questions.text_only(given["content"], at=f"{at}.content")
    if given["role"] == "tool":
        return {"role": "tool", "content": content, "tool_call_id": given.get("tool_call_id") or ""}
    calls = questions.spelled_calls(given, at=at)
    return {"role": given["role"], "content": content, **({"tool_calls": calls} if calls else {})}


def _tools(body: Mapping[str, Any]) -> Json:
    functions = questions.functions(body)
    if questions.choice_of_tool(body)[0] not in {"", "auto"}:
        raise refuse("tool_choice", f"{NAME} lets the model choose. Say auto, or leave it out.")
    for position, function in enumerate(functions):
        if function.get("strict"):
            raise refuse(
                f"tools[{position}].function.strict", f"{NAME} cannot be strict with tools. Leave it out."
            )
    listed = [
        {"type": "function", "function": {name: value for name, value in each.items() if name != "strict"}}
        for each in functions
    ]
    return {"tools": listed} if listed else {}


def _format(body: Mapping[str, Any]) -> Json:
    given = body.get("response_format")
    if given is None:
        return {}
    if given not in ({"type": "text"}, {"type": "json_object"}):
        raise refuse("response_format", "Its type must be text or json_object, with nothing beside it.")
    return {"response_format": given}


def read_chat(reply: Json, asked: Asked) -> Json:
    choices = [
        answers.choice(
            each["index"], _said(each["message"]), each["finish_reason"], logprobs=each.get("logprobs")
        )
        for each in reply["choices"]
    ]
    counts = read_usage(reply.get("usage"))
    return answers.chat(asked, choices, counts, id=reply["id"], model=reply.get("model") or "")


def _said(message: Json) -> Json:
    return answers.message(message.get("content"), tool_calls=message.get("tool_calls") or ())


def read_usage(told: Json | None) -> Json | None:
    return answers.usage(told["prompt_tokens"], told["completion_tokens"]) if told else None


class ChatStream:
    """One stream. Its last chunk has the usage beside the reason why it ended."""

    def __init__(self, asked: Asked) -> None:
        self.finished = False
        self._asked = asked
        self._calls: dict[int, list[str]] = {}

    def take(self, event: Event) -> list[Json]:
        data = event.data
        model = data.get("model") or ""
        chunks = [self._chunk(data["id"], model, each) for each in data["choices"]]
        self.finished = self.finished or any(each.get("finish_reason") for each in data["choices"])
        counts = read_usage(data.get("usage"))
        if counts is not None:
            chunks.append(answers.usage_chunk(self._asked, counts, id=data["id"], model=model))
        return chunks

    def _chunk(self, id: str, model: str, each: Json) -> Json:
        delta = each["delta"]
        calls = delta.get("tool_calls")
        if calls:
            delta = {**delta, "tool_calls": [self._numbered(each["index"], call) for call in calls]}
        return answers.chunk(
            self._asked,
            delta,
            index=each["index"],
            finish_reason=each.get("finish_reason"),
            logprobs=each.get("logprobs"),
            id=id,
            model=model,
        )

    def _numbered(self, choice: int, call: Json) -> Json:
        """They come whole or in pieces, of which the first has an id, and need not say which they are."""
        known, given = self._calls.setdefault(choice, []), call.get("id")
        if given and given not in known:
            known.append(given)
        return {"index": known.index(given) if given else max(len(known) - 1, 0), **call}
