"""Reads requests in OpenAI's format for providers with another wire format. No I/O; errors name the parameter.

No parameter is dropped silently. One that a provider's file does not support raises UnsupportedRequest if OpenAI defines it, and is
sent as the vendor's own parameter if OpenAI does not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import GATEWAY_FIELDS, UnsupportedRequest
from serving_ui.catalogue.vendor_rules import VendorRules, is_fitted
from serving_ui.catalogue.wire_format import Json

OPENAI_FIELDS = frozenset({
    "messages", "prompt", "input", "model", "stream", "stream_options", "user", "n", "best_of", "echo", "suffix",
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "frequency_penalty", "presence_penalty",
    "logit_bias", "logprobs", "top_logprobs", "response_format", "tools", "tool_choice", "parallel_tool_calls",
    "functions", "function_call", "modalities", "audio", "prediction", "reasoning_effort", "service_tier", "store",
    "metadata", "web_search_options", "verbosity", "dimensions", "encoding_format", "safety_identifier",
    "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "moderation",
})  # fmt: skip
"""All fields of OpenAI's chat, completion and embedding requests."""

WITHOUT_EFFECT: Mapping[str, Any] = {
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
"""Values equal to the default behaviour of every provider, so that they need no support."""

_IGNORED = frozenset({
    "model", "stream", "stream_options", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prompt_cache_options", "encoding_format",
})  # fmt: skip
"""Fields that the gateway handles, and fields that do not change the response (user ids, cache hints). Not sent to providers without
such a field."""

_ENCODING_FORMATS = (None, "float", "base64")
_FUNCTION_FIELDS = frozenset({"name", "description", "parameters", "strict"})
_MESSAGE_FIELDS = frozenset({"role", "content", "name", "tool_call_id"})
_MEDIA_TYPE_ALIASES = {"image/jpg": "image/jpeg"}
_DATA_URL = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+);base64,(?P<data>[A-Za-z0-9+/=\s]+)\Z")


@dataclass(frozen=True, slots=True)
class TextPart:
    """`vendor_fields` are the vendor's own fields of the part."""

    text: str
    vendor_fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImagePart:
    """Either `url`, or `media_type` with `data` in base64. `vendor_fields` are the vendor's own fields of the part."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    detail: str = ""
    vendor_fields: Mapping[str, Any] = field(default_factory=dict)


def merge_extra_params(body: Mapping[str, Any]) -> Json:
    """The body with `extra_params` merged in and without the gateway's own fields. Fields of the body win over `extra_params`.

    `stream` in `extra_params` is ignored: the gateway has decided how to respond before the provider's file is called.
    """
    extra = body.get("extra_params")
    if extra is not None and not isinstance(extra, Mapping):
        raise UnsupportedRequest(_("extra_params must be an object with the provider's own parameters."))
    whole = {**(extra or {}), **body}
    if "stream" not in body:
        whole.pop("stream", None)
    return {name: value for name, value in whole.items() if name not in GATEWAY_FIELDS}


def vendor_parameters(body: Mapping[str, Any], *, supported: Sequence[str], provider: str) -> Json:
    """The vendor's own parameters in the body and its `extra_params`.

    Raises UnsupportedRequest for a field of OpenAI's that is not in `supported`, unless its value has no effect.
    """
    vendor_fields: Json = {}
    for name, value in merge_extra_params(body).items():
        if name == "encoding_format" and value not in _ENCODING_FORMATS:
            raise refuse(name, "It must be float or base64.")
        if name in supported or name in _IGNORED:
            continue
        if name not in OPENAI_FIELDS:
            vendor_fields[name] = value
        elif value is not None and not has_no_effect(name, value):
            sentence = _("%(provider)s cannot do what the parameter %(name)s asks for. Leave it out.")
            raise UnsupportedRequest(sentence.fill(provider=provider, name=name))
    return vendor_fields


def merge_parameters(sent: Mapping[str, Any], vendor_fields: Mapping[str, Any]) -> Json:
    """`sent` with the vendor's own fields. Objects in both are merged; raises UnsupportedRequest if both set the same field."""
    whole = dict(sent)
    merge_into(whole, vendor_fields)
    return whole


def merge_into(whole: Json, vendor_fields: Mapping[str, Any]) -> None:
    """`merge_parameters` in place."""
    for name, value in vendor_fields.items():
        known = whole.get(name)
        if name not in whole:
            whole[name] = value
        elif isinstance(known, Mapping) and isinstance(value, Mapping) and not value.keys() & known.keys():
            whole[name] = {**known, **value}
        elif value is not None:
            raise refuse(
                name, "Another parameter of this request sets the same option. Leave one of them out."
            )


def has_no_effect(name: str, value: Any) -> bool:
    """Whether the value is in WITHOUT_EFFECT. Types count, because `logprobs` is a number in completions, where 0 differs from false."""
    neutral = WITHOUT_EFFECT.get(name)
    return (
        name in WITHOUT_EFFECT
        and bool(value == neutral)
        and isinstance(value, bool) == isinstance(neutral, bool)
    )


def refuse(name: str, why: str) -> UnsupportedRequest:
    """An error that names the parameter; `why` is a sentence that says what would be accepted."""
    return UnsupportedRequest(
        _("The parameter %(name)s cannot be passed on. %(why)s").fill(name=name, why=why)
    )


def _refuse_other_fields(holder: Mapping[str, Any], known: Collection[str], *, path: str) -> None:
    """Raise UnsupportedRequest for a field that would not be sent."""
    for name, value in holder.items():
        if value is not None and name not in known:
            raise refuse(f"{path}.{name}", "Leave it out.")


def content_parts(
    content: Any, *, path: str, vendor_fields: Sequence[str] = (), details: Sequence[str] = ("auto",)
) -> Iterator[TextPart | ImagePart]:
    """The parts of a message's content, which is a text or a list. Empty texts are left out.

    `path` names the content in errors, such as messages[0].content. `vendor_fields` are accepted fields of a part, `details` accepted
    values of an image's `detail`; others raise UnsupportedRequest.
    """
    if content is None:
        return
    if isinstance(content, str):
        if content:
            yield TextPart(content)
        return
    if not isinstance(content, list):
        raise refuse(path, "It must be a string or a list of parts.")
    for position, part in enumerate(content):
        read = _content_part(part, f"{path}[{position}]", vendor_fields, details)
        if isinstance(read, ImagePart) or read.text:
            yield read


def _content_part(
    part: Any, path: str, vendor_fields: Sequence[str], details: Sequence[str]
) -> TextPart | ImagePart:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("text", "refusal", "image_url"):
        raise refuse(path, "It must be a part of type text or image_url.")
    content = part.get(kind)
    extra = {name: value for name, value in part.items() if name not in {"type", kind} and value is not None}
    _refuse_other_fields(extra, vendor_fields, path=path)
    if kind == "image_url":
        return _image_part(content, path, extra, details)
    if not isinstance(content, str):
        raise refuse(f"{path}.{kind}", "It must be a string.")
    return TextPart(content, extra)


def _image_part(
    content: Any, path: str, vendor_fields: Mapping[str, Any], details: Sequence[str]
) -> ImagePart:
    image = content if isinstance(content, dict) else {"url": content}
    url = image.get("url")
    if not isinstance(url, str) or not url:
        raise refuse(f"{path}.image_url", "It must have a url.")
    for name, value in image.items():
        if name != "url" and not (name == "detail" and (value is None or value in details)):
            raise refuse(f"{path}.image_url.{name}", "Leave it out.")
    detail = image.get("detail") or ""
    if not url.startswith("data:"):
        return ImagePart(url=url, detail=detail, vendor_fields=vendor_fields)
    found = _DATA_URL.match(url)
    if found is None:
        raise refuse(path, "A data URL of an image looks like data:image/png;base64,….")
    kind = found["kind"].lower()
    return ImagePart(
        media_type=_MEDIA_TYPE_ALIASES.get(kind, kind),
        data="".join(found["data"].split()),
        detail=detail,
        vendor_fields=vendor_fields,
    )


def messages(body: Mapping[str, Any]) -> list[Json]:
    """The messages, with the role `developer` as `system` and an assistant's `refusal` as its content.

    Raises UnsupportedRequest for speakers' names, audio and the retired `function_call`.
    """
    return [_message(message, f"messages[{position}]") for position, message in enumerate(body["messages"])]


def _message(message: Any, path: str) -> Json:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("system", "developer", "user", "assistant", "tool"):
        raise refuse(path, "It must be an object with a role: system, user, assistant or tool.")
    for name in ("name", "audio", "function_call"):
        if message.get(name) and not (name == "name" and role == "tool"):  # a tool's name is that of its call
            raise refuse(f"{path}.{name}", "Leave it out.")
    if role != "assistant":  # an assistant's message is an earlier response, which may have any fields
        _refuse_other_fields(message, _MESSAGE_FIELDS, path=path)
    content = message.get("content") or message.get("refusal")
    return {**message, "role": "system" if role == "developer" else role, "content": content}


def list_field(holder: Mapping[str, Any], name: str, *, path: str = "") -> Sequence[Any]:
    """A field that must be a list; empty if it is missing."""
    found = holder.get(name) or []
    if not isinstance(found, list):
        raise refuse(path + name, "It must be a list.")
    return found


def stop_sequences(body: Mapping[str, Any], rules: VendorRules) -> list[str]:
    """`stop` as a list, without empty texts."""
    stop = body.get("stop")
    if stop is None:
        return []
    listed = [stop] if isinstance(stop, str) else stop
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise refuse("stop", "It must be a string or a list of strings.")
    sequences = [each for each in listed if each]
    if not rules.blank_stop_sequences and not all(each.strip() for each in sequences):
        sentence = f"For {rules.provider} each string must have a character that is not white space."
        raise refuse("stop", sentence)
    if rules.max_stop_sequences is not None and len(sequences) > rules.max_stop_sequences:
        raise refuse("stop", f"{rules.provider} takes at most {rules.max_stop_sequences} texts.")
    return sequences


def max_tokens(body: Mapping[str, Any]) -> int | None:
    """`max_completion_tokens`, or the older `max_tokens`."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise refuse(name, "It must be a whole number of at least 1.")
            return value
    return None


def number(body: Mapping[str, Any], name: str, *, minimum: float, maximum: float) -> float | None:
    """A number within the bounds, which are inclusive; None if it is missing."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise refuse(name, f"It must be a number from {minimum:g} to {maximum:g}.")
    return value


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A boolean; False if it is missing."""
    value = body.get(name)
    if not isinstance(value, bool | None):
        raise refuse(name, "It must be true or false.")
    return bool(value)


def forbids_parallel_tool_calls(body: Mapping[str, Any]) -> bool:
    """Whether `parallel_tool_calls` is false."""
    return body.get("parallel_tool_calls") is not None and not flag(body, "parallel_tool_calls")


def functions(
    body: Mapping[str, Any], rules: VendorRules, *, vendor_fields: Sequence[str] = ()
) -> list[Json]:
    """The `function` objects of `tools`, with the vendor's own fields of a tool, and names in the vendor's format.

    Raises UnsupportedRequest for tools of another type.
    """
    found = []
    for position, tool in enumerate(list_field(body, "tools")):
        path = f"tools[{position}]"
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise refuse(path, "It must be of type function, with a function that has a name.")
        beside = {name: value for name, value in tool.items() if name not in {"type", "function"}}
        _refuse_other_fields(function, _FUNCTION_FIELDS.union(vendor_fields), path=f"{path}.function")
        _refuse_other_fields(beside, vendor_fields, path=path)
        whole = {**function, **beside, "name": rules.tool_names.fit(function["name"])}
        found.append({name: value for name, value in whole.items() if value is not None})
    return found


def original_tool_name(body: Mapping[str, Any], rules: VendorRules, called: str) -> str:
    """The caller's name of a tool, from the vendor's name: the inverse of `VendorRules.tool_names.fit`."""
    if is_fitted(called):
        for tool in merge_extra_params(body).get("tools") or ():
            function = tool.get("function") if isinstance(tool, dict) else None
            name = function.get("name") if isinstance(function, dict) else None
            if isinstance(name, str) and rules.tool_names.fit(name) == called:
                return name
    return called


def tool_choice(body: Mapping[str, Any], rules: VendorRules) -> tuple[str, str]:
    """`tool_choice` as (`auto`, `none`, `required`, `function` or empty, the function's name). Empty without tools for auto and none."""
    kind, name = _read_tool_choice(body.get("tool_choice"))
    if body.get("tools") or not kind:
        return kind, rules.tool_names.fit(name) if name else ""
    if kind in ("auto", "none"):
        return "", ""
    raise refuse("tool_choice", "There are no tools to choose from.")


def _read_tool_choice(choice: Any) -> tuple[str, str]:
    if choice is None:
        return "", ""
    if choice in ("auto", "none", "required"):
        return choice, ""
    function = (
        choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    )
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise refuse(
            "tool_choice",
            "It must be auto, none, required, or an object of type function that names a function.",
        )
    return "function", name


def texts(value: Any, *, name: str) -> list[str]:
    """`input` or `prompt` as a list of texts. Raises UnsupportedRequest for token ids, which differ between models."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise refuse(
            name,
            "It must be a string or a list of strings. Token ids differ between models, so send the texts themselves.",
        )
    return listed


def single_prompt(body: Mapping[str, Any], rules: VendorRules) -> str:
    """The text of `prompt`, for vendors that accept one prompt per request."""
    prompts = texts(body["prompt"], name="prompt")
    if len(prompts) != 1:
        raise refuse("prompt", f"{rules.provider} takes one prompt a request.")
    if not prompts[0].strip():
        raise refuse("prompt", f"{rules.provider} takes no empty prompt.")
    return prompts[0]
