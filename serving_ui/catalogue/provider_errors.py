"""Detects errors in responses with status 200, as the whole body or as an event of a stream. No I/O.

There is no standard for this, so this module handles the formats of the vendors and of OpenAI-compatible servers:

    {"error": {…}}, {"error": "text"}, {"error": true, …}       OpenAI, Azure, Google, OpenRouter, Ollama, TGI, llama.cpp, proxies
    [{"error": {…}}], {"errors": [{…}]}                         Google without SSE; Cloudflare
    {"type": "error", …}, {"object": "error", …}                Anthropic, OpenAI's Responses; vLLM, FastChat, Mistral
    {"choices": [{"error": {…}, "finish_reason": "error"}]}     OpenRouter, vLLM
    {"response": {"status": "failed", "error": {…}}}            OpenAI's Responses
    {"error_code": …}, {"errorMessage": …}, {"base_resp": {…}}  Databricks, Baidu, FastChat; AWS Lambda; MiniMax
    {"Error": {…}}, {"Response": {"Error": {…}}}                AWS; Tencent
    {"fault": {…}}, {"header": {"code": …}}                     Apigee; iFlytek
    {"detail": …}, {"message": …, "code" or "status": …}        FastAPI; AWS, Cohere and gateways, if there is no output beside it
    {"title": …, "status": …}, {"statusCode": …, "body": …}     RFC 9457; AWS Lambda
    {"success": false, "message": …}                            Cloudflare, proxies
    an event named `error`, `….error` or `…Exception`           proxies; OpenAI's Responses; Bedrock

An error field that is null, false or empty is no error. Neither is a blocked prompt, a refusal of the model, or a content filter's
finish reason: those are valid responses. The error is mapped to an HTTP status: a status code in it, else its name, else patterns in
its message, else 500. Sources, November 2026: the error pages of these vendors' documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from serving_ui.lib import json_text

_DEFAULT_STATUS = 500
# Names in lower case, without punctuation, and without the suffix "error" or "exception".
_NAMES_BY_STATUS: Mapping[int, str] = {
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
_STATUS_BY_NAME = {name: status for status, names in _NAMES_BY_STATUS.items() for name in names.split()}
_STATUS_BY_PREFIX = {"invalid": 400, "throttl": 429, "limitexceeded": 429, "requestlimitexceeded": 429}
_STATUS_BY_MINIMAX_CODE = {1001: 504, 1002: 429, 1004: 401, 1008: 402, 1039: 429, 2013: 400, 2049: 401}
_STATUS_PATTERNS = (
    (429, re.compile(r"rate.?limit|too many requests|throttl|quota", re.I)),
    (
        503,
        re.compile(r"overload|busy|unavailable|at capacity|loading|try again later|pending requests", re.I),
    ),
    (504, re.compile(r"timed? ?out|deadline", re.I)),
)
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]")
_ERROR_SUFFIX = re.compile(r"(?:error|exception)+$")

_STATUS_KEYS = ("code", "status", "status_code", "statusCode", "http_status", "http_code", "originalStatusCode", "error_code")  # fmt: skip
_NAME_KEYS = ("code", "Code", "type", "status", "error_type", "errorType", "error_code", "reason", "__type")
_MESSAGE_KEYS = (
    "originalMessage", "message", "Message", "faultstring", "detail", "error_msg", "error_message", "errorMessage", "status_msg",
    "msg", "err", "exception", "text", "title", "body",
)  # fmt: skip
_ERROR_KEYS = ("errors", "Error", "fault", "exception", "err", "error_message", "errorMessage", "error_code", "detail")  # fmt: skip
_OUTPUT_KEYS = ("choices", "data", "output", "candidates", "predictions", "embeddings", "embedding", "content", "delta", "messages")  # fmt: skip
"""An object with one of these keys is output, unless it has an `error`."""


class ProviderError(Exception):
    """An error that the provider reported in a response with status 200. The text is the provider's message.

    `status` is the HTTP status that corresponds to it, `code` the provider's name of the error or empty, and `counts` the token counts
    in OpenAI's format if the response has them.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = _DEFAULT_STATUS,
        code: str = "",
        counts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.counts = counts


def error_in_event(content: Any, name: str = "") -> ProviderError | None:
    """The error that an event of a stream reports, if any. `name` is the type of the event, if it has one."""
    if name and is_error_event(name):
        inner = content.get("error") if isinstance(content, Mapping) else None
        return _provider_error(inner or content or name, content, name)
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if not isinstance(content, Mapping):
        return None
    if content.get("error"):
        return _provider_error(content["error"], content)
    if content.get("choices"):
        return _error_in_choices(content["choices"])
    return _error_by_other_field(content)


def error_in_response(content: Any) -> ProviderError | None:
    """The error that a whole response reports, if any. A response with a message and no output counts as an error."""
    failed = error_in_event(content)
    if failed is None and isinstance(content, Mapping) and not has_output(content):
        message = content.get("message") or content.get("Message")
        if isinstance(message, str):
            return _provider_error(content)
    return failed


def is_error_event(name: str) -> bool:
    """Whether events of this type are errors regardless of their content."""
    name = name.lower()
    return name == "error" or name.endswith((".error", "exception"))


def has_output(content: Mapping[str, Any]) -> bool:
    """Whether the object contains output of the model. Token counts are no output."""
    return any(content.get(name) for name in _OUTPUT_KEYS) or content.get("object") == "response"


def _error_in_choices(choices: Any) -> ProviderError | None:
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping) and (choice.get("error") or choice.get("finish_reason") == "error"):
            return _provider_error(choice.get("error") or "It ended with the finish reason error.", choice)
    return None


def _error_by_other_field(content: Mapping[str, Any]) -> ProviderError | None:
    """The error, if another field than `error` reports it."""
    if content.get("type") == "error" or content.get("object") == "error":
        return _provider_error(content)
    response = content if content.get("object") == "response" else content.get("response")
    if isinstance(response, Mapping) and (response.get("error") or response.get("status") == "failed"):
        return _provider_error(response.get("error") or "The response failed.", response)
    minimax = content.get("base_resp")
    if isinstance(minimax, Mapping) and minimax.get("status_code"):
        return _provider_error(minimax, minimax)
    if has_output(content):
        return None
    for each in (content, content.get("Response"), content.get("header")):
        failed = _error_without_output(each) if isinstance(each, Mapping) else None
        if failed is not None:
            return failed
    return None


def _error_without_output(content: Mapping[str, Any]) -> ProviderError | None:
    """The error in an object without output, which would not count as an error beside output."""
    for name in _ERROR_KEYS:
        if error := content.get(name):
            has_parts = isinstance(error, Mapping | list) and name != "detail"
            return _provider_error(error if has_parts else _message(content) or error, content)
    is_error = (
        isinstance(content.get("code"), str)
        or content.get("success") is False
        or any(_is_error_code(content.get(name)) for name in (*_NAME_KEYS, "statusCode", "status_code"))
    )
    return _provider_error(content) if is_error and _message(content) else None


def _is_error_code(value: Any) -> bool:
    """Whether a code, type or status means an error. Vendors have different numbers for success, all of them below 300."""
    number = _number(value)
    if number is not None:
        return number >= 300
    if not isinstance(value, str):
        return False
    return value.lower().startswith("error") or "fail" in value.lower() or _status_of(value) is not None


def _provider_error(error: Any, container: Any = None, name: str = "") -> ProviderError:
    """The exception for `error`. `container` is the object that contains it, `name` the type of the event."""
    if isinstance(error, list) and error:
        error = error[0]
    holders = [each for each in (error, container) if isinstance(each, Mapping)]
    inner = holders[0].get("metadata") if holders else None
    holders += [inner] if isinstance(inner, Mapping) else []
    message = next(_message_candidates(error, holders), name) or "It gave no reason."
    code, named = _status_by_name([name] if name else [], holders)
    status = (
        _status_by_number(holders)
        or named
        or _status_by_name([message], [])[1]
        or _status_by_pattern(message)
    )
    return ProviderError(message, status=status, code=code)


def _message_candidates(error: Any, holders: list[Mapping[str, Any]]) -> Iterator[str]:
    """Candidates for the message, the best first."""
    if isinstance(error, str) and error.strip():
        yield error
    for holder in holders:
        if found := _message(holder):
            yield found
    yield from (str(holder[name]) for holder in holders for name in _NAME_KEYS if holder.get(name))
    yield from (json_text.write(holder).decode() for holder in holders[:1])


def _message(holder: Mapping[str, Any]) -> str:
    for name in _MESSAGE_KEYS:
        value = holder.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if name == "detail" and value:
            return json_text.write(value).decode()
    return ""


def _status_by_number(holders: list[Mapping[str, Any]]) -> int | None:
    for holder in holders:
        for name in _STATUS_KEYS:
            number = _number(holder.get(name))
            if number is not None and 400 <= number < 600:
                return number
            if number in _STATUS_BY_MINIMAX_CODE and name == "status_code":
                return _STATUS_BY_MINIMAX_CODE[number]
    return None


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _status_by_name(names: list[str], holders: list[Mapping[str, Any]]) -> tuple[str, int | None]:
    """The first known name, and its status."""
    names += [
        str(holder[name]) for holder in holders for name in _NAME_KEYS if isinstance(holder.get(name), str)
    ]
    return next(((name, status) for name in names if (status := _status_of(name)) is not None), ("", None))


def _status_of(name: str) -> int | None:
    plain = _ERROR_SUFFIX.sub("", _NOT_ALPHANUMERIC.sub("", name.rpartition("#")[2].lower()))
    return _STATUS_BY_NAME.get(plain) or next(
        (_STATUS_BY_PREFIX[each] for each in _STATUS_BY_PREFIX if plain.startswith(each)), None
    )


def _status_by_pattern(message: str) -> int:
    return next((status for status, pattern in _STATUS_PATTERNS if pattern.search(message)), _DEFAULT_STATUS)
