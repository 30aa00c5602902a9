"""Reads an OpenAI-shaped question for providers that speak another wire. Pure; refuses with sentences that name the parameter.

Nothing is dropped in silence: what a provider's file does not take is refused when OpenAI has it, and passed on as the provider's own
parameter when OpenAI does not know it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import GATEWAY_FIELDS, RequestRefused
from serving_ui.catalogue.vendor_rules import Rules, is_fitted
from serving_ui.catalogue.wire_format import Json

OPENAI_FIELDS = frozenset({
    "messages", "prompt", "input", "model", "stream", "stream_options", "user", "n", "best_of", "echo", "suffix",
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "frequency_penalty", "presence_penalty",
    "logit_bias", "logprobs", "top_logprobs", "response_format", "tools", "tool_choice", "parallel_tool_calls",
    "functions", "function_call", "modalities", "audio", "prediction", "reasoning_effort", "service_tier", "store",
    "metadata", "web_search_options", "verbosity", "dimensions", "encoding_format", "safety_identifier",
    "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "moderation",
})  # fmt: skip
"""Fields of OpenAI's three requests. Whoever sends one means what OpenAI means by it."""

NEUTRAL: Mapping[str, Any] = {
    "n": 1,
    "best_of": 1,
    "echo": False,
    "suffix": "",
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "tools": [],
    "functions": [],
    "parallel_tool_calls": True,
    "store": False,
    "metadata": {},
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "service_tier": "auto",
}
"""Values that ask for nothing in particular; any provider can give that."""

_SILENT = frozenset({
    "model", "stream", "stream_options", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prompt_cache_options", "encoding_format",
})  # fmt: skip
"""What the gateway itself sees to, and what changes no answer: who asks, and hints for caches. Left out where a provider has no place for it."""

_ENCODINGS = (None, "float", "base64")
_OF_A_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_OF_A_MESSAGE = frozenset({"role", "content", "name", "tool_call_id"})
_IMAGE_KINDS = {"image/jpg": "image/jpeg"}
_DATA_URL = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+);base64,(?P<data>[A-Za-z0-9+/=\s]+)\Z")


@dataclass(frozen=True, slots=True)
class Text:
    """`own` are the provider's own fields of the part."""

    text: str
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """Either `url`, or `kind` (a media type) with `data` in base64. `own` are the provider's own fields of the part.

    `detail` is how closely it is looked at, for the providers that can say so.
    """

    url: str = ""
    kind: str = ""
    data: str = ""
    detail: str = ""
    own: Mapping[str, Any] = field(default_factory=dict)


def merged(body: Mapping[str, Any]) -> Json:
    """The body with its `extra_params` beneath it, and without what is meant for this server.

    Read all that you take from this. Whether to stream is not an extra: the gateway decides before how to answer.
    """
    extra = body.get("extra_params")
    if extra is not None and not isinstance(extra, Mapping):
        raise RequestRefused(_("extra_params must be an object with the provider's own parameters."))
    whole = {**(extra or {}), **body}
    if "stream" not in body:
        whole.pop("stream", None)
    return {name: value for name, value in whole.items() if name not in GATEWAY_FIELDS}


def own_fields(body: Mapping[str, Any], *, taken: Sequence[str], provider: str) -> Json:
    """The provider's own parameters in the body and its `extra_params`. Raises for OpenAI's fields that are not `taken`."""
    own: Json = {}
    for name, value in merged(body).items():
        if name == "encoding_format" and value not in _ENCODINGS:
            raise refuse(name, "It must be float or base64.")
        if name in taken or name in _SILENT:
            continue
        if name not in OPENAI_FIELDS:
            own[name] = value
        elif value is not None and not is_neutral(name, value):
            sentence = _("%(provider)s cannot do what the parameter %(name)s asks for. Leave it out.")
            raise RequestRefused(sentence.fill(provider=provider, name=name))
    return own


def joined(sent: Mapping[str, Any], own: Mapping[str, Any]) -> Json:
    """What OpenAI's parameters have become, with the caller's own fields. Objects that both have are one, if they say nothing twice."""
    whole = dict(sent)
    join(whole, own)
    return whole


def join(whole: Json, own: Mapping[str, Any]) -> None:
    """The same, put into `whole`."""
    for name, value in own.items():
        known = whole.get(name)
        if name not in whole:
            whole[name] = value
        elif isinstance(known, Mapping) and isinstance(value, Mapping) and not value.keys() & known.keys():
            whole[name] = {**known, **value}
        elif value is not None:
            raise refuse(name, "Another parameter of this request already says it. Leave one of them out.")


def is_neutral(name: str, value: Any) -> bool:
    """Whether the value asks for nothing. In completions `logprobs` is a number, and its 0 is not the `false` of chat."""
    neutral = NEUTRAL.get(name)
    return name in NEUTRAL and bool(value == neutral) and isinstance(value, bool) == isinstance(neutral, bool)


def refuse(name: str, why: str) -> RequestRefused:
    """A refusal that names the parameter; `why` is a sentence that says what would be right."""
    return RequestRefused(_("The parameter %(name)s cannot be passed on. %(why)s").fill(name=name, why=why))


def _only(holder: Mapping[str, Any], known: Collection[str], *, at: str) -> None:
    """Raise for a field that the provider would not get."""
    for name, value in holder.items():
        if value is not None and name not in known:
            raise refuse(f"{at}.{name}", "Leave it out.")


def parts(
    content: Any, *, at: str, own: Sequence[str] = (), details: Sequence[str] = ("auto",)
) -> Iterator[Text | Image]:
    """A message's content, which is a text or a list of parts. Texts that are empty are left out.

    `at` names it in refusals, such as messages[0].content; `own` are the provider's own fields of a part. Others are refused.
    `details` are those of an image that it has; nobody needs to be told of `auto`.
    """
    if content is None:
        return
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    if not isinstance(content, list):
        raise refuse(at, "It must be a text or a list of parts.")
    for position, part in enumerate(content):
        read = _part(part, f"{at}[{position}]", own, details)
        if isinstance(read, Image) or read.text:
            yield read


def _part(part: Any, at: str, own: Sequence[str], details: Sequence[str]) -> Text | Image:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("text", "refusal", "image_url"):
        raise refuse(at, "It must be a part of type text or image_url.")
    given = part.get(kind)
    extra = {name: value for name, value in part.items() if name not in {"type", kind} and value is not None}
    _only(extra, own, at=at)
    if kind == "image_url":
        return _image(given, at, extra, details)
    if not isinstance(given, str):
        raise refuse(f"{at}.{kind}", "It must be a text.")
    return Text(given, extra)


def _image(given: Any, at: str, own: Mapping[str, Any], details: Sequence[str]) -> Image:
    described = given if isinstance(given, dict) else {"url": given}
    url = described.get("url")
    if not isinstance(url, str) or not url:
        raise refuse(f"{at}.image_url", "It must have a url.")
    for name, value in described.items():
        if name != "url" and not (name == "detail" and (value is None or value in details)):
            raise refuse(f"{at}.image_url.{name}", "Leave it out.")
    detail = described.get("detail") or ""
    if not url.startswith("data:"):
        return Image(url=url, detail=detail, own=own)
    found = _DATA_URL.match(url)
    if found is None:
        raise refuse(at, "A data URL of an image looks like data:image/png;base64,….")
    kind = found["kind"].lower()
    return Image(
        kind=_IMAGE_KINDS.get(kind, kind), data="".join(found["data"].split()), detail=detail, own=own
    )


def messages(body: Mapping[str, Any]) -> list[Json]:
    """The messages, each an object with a role of the four, `developer` counted as system.

    What an assistant refused with is what it said. Names of speakers, audio and calls of the kind that OpenAI has retired are refused.
    """
    return [_message(given, f"messages[{position}]") for position, given in enumerate(body["messages"])]


def _message(given: Any, at: str) -> Json:
    role = given.get("role") if isinstance(given, dict) else None
    if role not in ("system", "developer", "user", "assistant", "tool"):
        raise refuse(at, "It must be an object with a role: system, user, assistant or tool.")
    for name in ("name", "audio", "function_call"):
        if given.get(name) and not (name == "name" and role == "tool"):  # a tool's name is known by its call
            raise refuse(f"{at}.{name}", "Leave it out.")
    if role != "assistant":  # an assistant's message is an earlier answer, with whatever that had
        _only(given, _OF_A_MESSAGE, at=at)
    content = given.get("content") or given.get("refusal")
    return {**given, "role": "system" if role == "developer" else role, "content": content}


def listed(holder: Mapping[str, Any], name: str, *, at: str = "") -> Sequence[Any]:
    """A field that is a list, or is left out."""
    found = holder.get(name) or []
    if not isinstance(found, list):
        raise refuse(at + name, "It must be a list.")
    return found


def stops(body: Mapping[str, Any], rules: Rules) -> list[str]:
    """`stop` as a list. An empty text stops nothing and is left out."""
    given = body.get("stop")
    if given is None:
        return []
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise refuse("stop", "It must be a text or a list of texts.")
    kept = [each for each in listed if each]
    if not rules.blank_stops and not all(each.strip() for each in kept):
        sentence = f"For {rules.provider} each text must have a character that is not white space."
        raise refuse("stop", sentence)
    if rules.most_stops is not None and len(kept) > rules.most_stops:
        raise refuse("stop", f"{rules.provider} takes at most {rules.most_stops} texts.")
    return kept


def most_tokens(body: Mapping[str, Any]) -> int | None:
    """`max_completion_tokens`, or the older `max_tokens`."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise refuse(name, "It must be a whole number of at least 1.")
            return value
    return None


def number(body: Mapping[str, Any], name: str, *, least: float, most: float) -> float | None:
    """A parameter that is a number between two."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise refuse(name, f"Here it must be a number from {least:g} to {most:g}.")
    return value


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A parameter that is true or false."""
    value = body.get(name)
    if not isinstance(value, bool | None):
        raise refuse(name, "It must be true or false.")
    return bool(value)


def calls_one_at_a_time(body: Mapping[str, Any]) -> bool:
    """Whether the model must not call several tools at once."""
    return body.get("parallel_tool_calls") is not None and not flag(body, "parallel_tool_calls")


def functions(body: Mapping[str, Any], rules: Rules, *, own: Sequence[str] = ()) -> list[Json]:
    """The `function` objects of `tools`, with the provider's `own` fields of a tool and names that it takes. Raises for tools of another type."""
    found = []
    for position, tool in enumerate(listed(body, "tools")):
        at = f"tools[{position}]"
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise refuse(at, "It must be of type function, with a function that has a name.")
        beside = {name: value for name, value in tool.items() if name not in {"type", "function"}}
        _only(function, _OF_A_FUNCTION.union(own), at=f"{at}.function")
        _only(beside, own, at=at)
        whole = {**function, **beside, "name": rules.names.fit(function["name"])}
        found.append({name: value for name, value in whole.items() if value is not None})
    return found


def own_name(body: Mapping[str, Any], rules: Rules, called: str) -> str:
    """What the caller calls the tool that the vendor's model has called."""
    if is_fitted(called):
        for tool in merged(body).get("tools") or ():
            function = tool.get("function") if isinstance(tool, dict) else None
            name = function.get("name") if isinstance(function, dict) else None
            if isinstance(name, str) and rules.names.fit(name) == called:
                return name
    return called


def choice_of_tool(body: Mapping[str, Any], rules: Rules) -> tuple[str, str]:
    """`tool_choice` as (auto, none, required, function or empty, the function's name). Without tools, auto and none ask for nothing."""
    kind, name = _choice(body.get("tool_choice"))
    if body.get("tools") or not kind:
        return kind, rules.names.fit(name) if name else ""
    if kind in ("auto", "none"):
        return "", ""
    raise refuse("tool_choice", "There are no tools to choose from.")


def _choice(given: Any) -> tuple[str, str]:
    if given is None:
        return "", ""
    if given in ("auto", "none", "required"):
        return given, ""
    function = given.get("function") if isinstance(given, dict) and given.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise refuse(
            "tool_choice",
            "It must be auto, none, required, or an object of type function that names a function.",
        )
    return "function", name


def texts(value: Any, *, name: str) -> list[str]:
    """`input` or `prompt` as a list of texts. Token numbers are refused: another model's tokens mean something else."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise refuse(
            name,
            "It must be a text or a list of texts. Token numbers mean something else to every model: send the texts themselves.",
        )
    return listed


def prompt(body: Mapping[str, Any], rules: Rules) -> str:
    """The one text of `prompt`, for vendors that take one a request."""
    given = texts(body["prompt"], name="prompt")
    if len(given) != 1:
        raise refuse("prompt", f"{rules.provider} takes one prompt a request.")
    if not given[0].strip():
        raise refuse("prompt", f"{rules.provider} takes no empty prompt.")
    return given[0]
