"""Reads failure in what a provider answered with status 200: an object that says so, whole or as an event of a stream. Pure.

There is no standard for this, so the spellings of the vendors and of the servers that speak the OpenAI wire are gathered here:

    {"error": {…}}, {"error": "text"}, {"error": true, …}       OpenAI, Azure, Google, OpenRouter, Ollama, TGI, llama.cpp, proxies
    [{"error": {…}}], {"errors": [{…}]}                         Google without SSE; Cloudflare
    {"type": "error", …}, {"object": "error", …}                Anthropic, OpenAI's Responses; vLLM, FastChat, Mistral
    {"choices": [{"error": {…}, "finish_reason": "error"}]}     OpenRouter, vLLM
    {"response": {"status": "failed", "error": {…}}}            OpenAI's Responses
    {"error_code": …}, {"errorMessage": …}, {"base_resp": {…}}  Databricks, Baidu, FastChat; AWS Lambda; MiniMax
    {"Error": {…}}, {"Response": {"Error": {…}}}                AWS; Tencent
    {"fault": {…}}, {"header": {"code": …}}                     Apigee; iFlytek
    {"detail": …}, {"message": …, "code" or "status": …}        FastAPI; AWS, Cohere and gateways, where there is no answer beside it
    {"title": …, "status": …}, {"statusCode": …, "body": …}     RFC 9457; AWS Lambda
    {"success": false, "message": …}                            Cloudflare, proxies
    an event named `error`, `….error` or `…Exception`           proxies; OpenAI's Responses; Bedrock

An error that is null, false or empty is none. Neither is a blocked prompt, a refusal of the model, or a finish reason that tells of a
filter: those are answers. What kind of failure it is comes as the HTTP status that it would have been: a number that it tells, else the
name that it gives, else what its words sound like, else 500. Sources, November 2026: the error pages of these vendors' documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from serving_ui.lib import json_text

_DEFAULT = 500
# Each name in small letters without signs, and without "error" or "exception" at its end.
_NAMES: Mapping[int, str] = {
    400: "badrequest validation contextlength contextlengthexceeded exceedcontextsize contentfilter contentpolicyviolation "
    "failedprecondition outofrange",
    401: "authentication unauthenticated unauthorized invalidapikey",
    402: "billing paymentrequired insufficientcredits insufficientbalance creditbalanceexhausted",
    403: "permission permissiondenied accessdenied forbidden",
    404: "notfound modelnotfound resourcenotfound resourcedoesnotexist endpointnotfound",
    409: "conflict aborted alreadyexists resourceconflict",
    413: "requesttoolarge payloadtoolarge",
    424: "model modelstream",
    429: "ratelimit ratelimitexceeded ratelimited throttling throttled toomanyrequests resourceexhausted requestlimitexceeded "
    "limitexceeded quotaexceeded insufficientquota modelnotready",
    500: "api server internal internalserver internalfailure unknown generation incompletegeneration",
    501: "notimplemented unimplemented notsupported",
    502: "badgateway",
    503: "unavailable serviceunavailable temporarilyunavailable providerunavailable modelunavailable modelloading slowdown "
    "serverbusy capacityexceeded",
    504: "timeout timedout deadlineexceeded gatewaytimeout requesttimeout modeltimeout",
    529: "overloaded engineoverloaded serveroverloaded serverisoverloaded modeloverloaded provideroverloaded",
}
_STATUSES = {name: status for status, names in _NAMES.items() for name in names.split()}
_PREFIXES = {"invalid": 400, "throttl": 429, "limitexceeded": 429, "requestlimitexceeded": 429}
_NUMBERS_OF_MINIMAX = {1001: 504, 1002: 429, 1004: 401, 1008: 402, 1039: 429, 2013: 400, 2049: 401}
_PATTERNS = (
    (429, re.compile(r"rate.?limit|too many requests|throttl|quota", re.I)),
    (
        503,
        re.compile(r"overload|busy|unavailable|at capacity|loading|try again later|pending requests", re.I),
    ),
    (504, re.compile(r"timed? ?out|deadline", re.I)),
)
_SIGNS = re.compile(r"[^a-z0-9]")
_ENDING = re.compile(r"(?:error|exception)+$")

_STATUS_KEYS = ("code", "status", "status_code", "statusCode", "http_status", "http_code", "originalStatusCode", "error_code")  # fmt: skip
_NAME_KEYS = ("code", "Code", "type", "status", "error_type", "errorType", "error_code", "reason", "__type")
_MESSAGE_KEYS = (
    "originalMessage", "message", "Message", "faultstring", "detail", "error_msg", "error_message", "errorMessage", "status_msg",
    "msg", "err", "exception", "text", "title", "body",
)  # fmt: skip
_ERROR_KEYS = ("errors", "Error", "fault", "exception", "err", "error_message", "errorMessage", "error_code", "detail")  # fmt: skip
_ANSWER_KEYS = ("choices", "data", "output", "candidates", "predictions", "embeddings", "embedding", "content", "delta", "messages")  # fmt: skip
"""What has one of these is an answer or a part of one, unless it names its error."""


class ProviderFailed(Exception):
    """The provider itself said, within an answer, that it failed; the text is in its words.

    `status` is the HTTP status that it would have been, `code` the provider's own name for it, empty without one, and `counts` the
    token counts (OpenAI-shaped) when the answer told any.
    """

    def __init__(
        self, words: str, *, status: int = _DEFAULT, code: str = "", counts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(words)
        self.status = status
        self.code = code
        self.counts = counts


def in_event(content: Any, name: str = "") -> ProviderFailed | None:
    """The failure that an event of a stream tells of, None for all others. `name` is the event's type, where it has one."""
    if name and names_failure(name):
        inner = content.get("error") if isinstance(content, Mapping) else None
        return _read(inner or content or name, content, name)
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, Mapping):
        return None
    if content.get("error"):
        return _read(content["error"], content)
    if content.get("choices"):
        return _in_choices(content["choices"])
    return _without_error(content)


def in_answer(content: Any) -> ProviderFailed | None:
    """The failure that a whole answer tells of. An answer with nothing but a message is none."""
    failed = in_event(content)
    if failed is None and isinstance(content, Mapping) and not has_answer(content):
        words = content.get("message") or content.get("Message")
        if isinstance(words, str):
            return _read(content)
    return failed


def names_failure(name: str) -> bool:
    """Whether an event of this type tells of a failure, whatever it holds."""
    name = name.lower()
    return name == "error" or name.endswith((".error", "exception"))


def has_answer(content: Mapping[str, Any]) -> bool:
    """Whether there is an answer in it, or a part of one. Token counts are none."""
    return any(content.get(name) for name in _ANSWER_KEYS) or content.get("object") == "response"


def _in_choices(choices: Any) -> ProviderFailed | None:
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping) and (choice.get("error") or choice.get("finish_reason") == "error"):
            return _read(choice.get("error") or "It ended with the finish reason error.", choice)
    return None


def _without_error(content: Mapping[str, Any]) -> ProviderFailed | None:
    """Failures that have another field than `error` to tell of it."""
    if content.get("type") == "error" or content.get("object") == "error":
        return _read(content)
    response = content if content.get("object") == "response" else content.get("response")
    if isinstance(response, Mapping) and (response.get("error") or response.get("status") == "failed"):
        return _read(response.get("error") or "The response failed.", response)
    minimax = content.get("base_resp")
    if isinstance(minimax, Mapping) and minimax.get("status_code"):
        return _read(minimax, minimax)
    if has_answer(content):
        return None
    for each in (content, content.get("Response"), content.get("header")):
        failed = _instead_of_answer(each) if isinstance(each, Mapping) else None
        if failed is not None:
            return failed
    return None


def _instead_of_answer(content: Mapping[str, Any]) -> ProviderFailed | None:
    """What would be no failure if an answer stood beside it."""
    for name in _ERROR_KEYS:
        if error := content.get(name):
            has_parts = isinstance(error, Mapping | list) and name != "detail"
            return _read(error if has_parts else _words(content) or error, content)
    is_told = (
        isinstance(content.get("code"), str)
        or content.get("success") is False
        or any(_is_bad(content.get(name)) for name in (*_NAME_KEYS, "statusCode", "status_code"))
    )
    return _read(content) if is_told and _words(content) else None


def _is_bad(value: Any) -> bool:
    """Whether a code, type or status is one of failure. There are as many numbers for success as vendors, but they are small."""
    number = _number(value)
    if number is not None:
        return number >= 300
    if not isinstance(value, str):
        return False
    return value.lower().startswith("error") or "fail" in value.lower() or _status_of(value) is not None


def _read(error: Any, around: Any = None, name: str = "") -> ProviderFailed:
    """What `error` says; `around` is the object that it stands in, `name` that of the event."""
    if isinstance(error, list) and error:
        error = error[0]
    holders = [each for each in (error, around) if isinstance(each, Mapping)]
    inner = holders[0].get("metadata") if holders else None
    holders += [inner] if isinstance(inner, Mapping) else []
    words = next(_said(error, holders), name) or "It gave no reason."
    code, named = _by_name([name] if name else [], holders)
    status = _by_number(holders) or named or _by_name([words], [])[1] or _by_pattern(words)
    return ProviderFailed(words, status=status, code=code)


def _said(error: Any, holders: list[Mapping[str, Any]]) -> Iterator[str]:
    """What it says in words, the best first."""
    if isinstance(error, str) and error.strip():
        yield error
    for holder in holders:
        if found := _words(holder):
            yield found
    yield from (str(holder[name]) for holder in holders for name in _NAME_KEYS if holder.get(name))
    yield from (json_text.write(holder).decode() for holder in holders[:1])


def _words(holder: Mapping[str, Any]) -> str:
    for name in _MESSAGE_KEYS:
        value = holder.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if name == "detail" and value:
            return json_text.write(value).decode()
    return ""


def _by_number(holders: list[Mapping[str, Any]]) -> int | None:
    for holder in holders:
        for name in _STATUS_KEYS:
            number = _number(holder.get(name))
            if number is not None and 400 <= number < 600:
                return number
            if number in _NUMBERS_OF_MINIMAX and name == "status_code":
                return _NUMBERS_OF_MINIMAX[number]
    return None


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _by_name(names: list[str], holders: list[Mapping[str, Any]]) -> tuple[str, int | None]:
    """The first name that is known, and the status that it stands for."""
    names += [
        str(holder[name]) for holder in holders for name in _NAME_KEYS if isinstance(holder.get(name), str)
    ]
    return next(((name, status) for name in names if (status := _status_of(name)) is not None), ("", None))


def _status_of(name: str) -> int | None:
    plain = _ENDING.sub("", _SIGNS.sub("", name.rpartition("#")[2].lower()))
    return _STATUSES.get(plain) or next(
        (_PREFIXES[each] for each in _PREFIXES if plain.startswith(each)), None
    )


def _by_pattern(words: str) -> int:
    return next((status for status, pattern in _PATTERNS if pattern.search(words)), _DEFAULT)
