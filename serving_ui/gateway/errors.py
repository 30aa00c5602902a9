"""The gateway's errors: status, error code and sentence, in the format of the Databricks API.

GatewayError
├── of the request: `invalid`, `unauthenticated`, `endpoint_not_found`, `not_queryable`, …
├── of a provider's error reply: `from_provider_reply`, with the provider's message
└── of an attempt without a reply: attempt_failed.py

Only statuses that clients understand (400 401 403 404 409 429 499 500 501 503 504): the MLflow client retries any other one for
minutes. 401 and 404 are about the *caller's* token and endpoint, never about the provider's: when a provider rejects the
endpoint's key, the caller gets 400, which no client retries, and a sentence that says whose key it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import ceil
from urllib.parse import unquote

from pydantic_core import to_json

from serving_ui.gateway import retries
from serving_ui.gateway.redaction import redact
from serving_ui.lib import json_text
from serving_ui.lib.retry_after import retry_after_seconds

MAX_MESSAGE_CHARS = 2000
_MAX_CHARS_READ = 4 * MAX_MESSAGE_CHARS
_WEB_PAGE = "a web page instead of JSON."
_NOT_SECRET_HEADERS = frozenset(
    {"content-type", "accept", "user-agent", "openai-organization", "accept-encoding", "anthropic-version"}
)
# Some vendors repeat a part of the rejected key: "Incorrect API key provided: sk-ab***yz".
_SECRET_PATTERN = re.compile(
    r"\b(?:sk|pk|dapi|key|ghp|xox[abp])[-_][\w*.\-]{6,}|\bdapi[0-9a-f]{16,}|\bBearer\s+\S{6,}", re.I
)
_AWS_KEY_ID = re.compile(r"Credential=([^/,\s]+)/")
_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    429: "REQUEST_LIMIT_EXCEEDED",
    499: "CANCELLED",
    500: "INTERNAL_ERROR",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class GatewayError(Exception):
    """An error response. `str` is the sentence."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or _CODES[status]
        self.retry_after = retry_after

    @property
    def body(self) -> bytes:
        return to_json({"error_code": self.code, "message": self.message})

    @property
    def event(self) -> bytes:
        """The error as the last event of a stream: the OpenAI client raises on `error`, MLflow's yields the object."""
        error = {"message": self.message, "type": "upstream_error", "code": self.code}
        return (
            b"data: " + to_json({"error": error, "error_code": self.code, "message": self.message}) + b"\n\n"
        )

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [] if self.retry_after is None else [(b"retry-after", str(self.retry_after).encode())]


def invalid(message: str) -> GatewayError:
    """The request is malformed, or this endpoint does not support it."""
    return GatewayError(400, message, code="INVALID_PARAMETER_VALUE")


def unauthenticated() -> GatewayError:
    return GatewayError(
        401, "The request carries no valid access token. Send the header Authorization: Bearer <token>."
    )


def endpoint_not_found(name: str) -> GatewayError:
    """The same sentence whether the endpoint does not exist or the caller may not see it, so that names cannot be probed."""
    return GatewayError(
        404, f"Endpoint {_shortened(name)} does not exist, or you may not query it. Check its name."
    )


def not_queryable(name: str) -> GatewayError:
    return GatewayError(
        403,
        f"You may see endpoint {_shortened(name)} but not query it. Ask its owner for the permission Can query.",
    )


def from_provider_reply(
    *, status: int, headers: Mapping[str, str], body: bytes, endpoint: str, secrets: Iterable[str]
) -> GatewayError:
    """The error for the caller when the provider replies with an error status."""
    message = provider_message(body, secrets=secrets)
    quoted = f" The provider said: {message}" if message else ""
    if status in {401, 403}:
        return GatewayError(
            400,
            f"The provider refused the credentials of endpoint {endpoint} ({status}); your own token is fine. "
            f"The person who manages the endpoint must check them.{quoted}",
        )
    if 300 <= status < 400:
        return GatewayError(
            400,
            f"The provider answered with a redirect ({status}), which is never followed. "
            f"The person who manages endpoint {endpoint} must give the final address.",
        )
    if status == 429:
        return _provider_limit(headers, body, quoted)
    if status in {408, 504}:
        return GatewayError(504, f"The provider reported a timeout ({status}). Try again.{quoted}")
    if status == 409:
        return GatewayError(409, f"The provider reported a conflict (409).{quoted}")
    if status in {424, 500}:  # 424: Bedrock, when the model that it runs has failed
        return GatewayError(500, f"The provider failed ({status}).{quoted}")
    if status == 501:
        return GatewayError(501, f"The provider does not support this request (501).{quoted}")
    if status > 501:
        # Clients repeat a request whose answer has a Retry-After, so it is set only if the provider has done no work.
        after = _retry_after(headers) if retries.is_retryable(status, headers) else None
        return GatewayError(
            503, f"The provider is not available ({status}). Try again later.{quoted}", retry_after=after
        )
    return GatewayError(400, f"The provider refused the request ({status}).{quoted}")


def _provider_limit(headers: Mapping[str, str], body: bytes, quoted: str) -> GatewayError:
    if b"insufficient_quota" in body:
        # 400, because clients retry a 429 for minutes and an empty account stays empty.
        return GatewayError(400, f"The provider's quota for this endpoint is used up (429).{quoted}")
    after = _retry_after(headers) or 1
    return GatewayError(
        429,
        f"The provider's own limit for this endpoint has been reached (429). Try again in {after} s.{quoted}",
        code="RESOURCE_EXHAUSTED",
        retry_after=after,
    )


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Whole seconds, the only format that the Databricks SDK reads."""
    seconds = retry_after_seconds(headers)
    return None if seconds is None else min(max(1, ceil(seconds)), 300)


def provider_message(body: bytes, *, secrets: Iterable[str], max_chars: int = MAX_MESSAGE_CHARS) -> str:
    """The message of a provider's error body without secrets, at most `most` characters."""
    text, is_complete = _message(body)
    if len(text) > _MAX_CHARS_READ:
        text, is_complete = text[:_MAX_CHARS_READ], False
    # Before the text is cut: the part of a secret before the cut would not be found.
    text = _SECRET_PATTERN.sub("[secret]", redact(text, secrets, is_cut=not is_complete))
    printable = "".join(character if character.isprintable() else " " for character in text)
    words = " ".join(printable.split())
    return words if len(words) <= max_chars else words[:max_chars] + "…"


def _message(body: bytes) -> tuple[str, bool]:
    """(message, whether it is complete); incomplete if the body is no JSON, of which only the start may have been read."""
    try:
        content = json_text.read(body)
    except json_text.JsonInvalid:
        text = body.decode("utf-8", "replace").strip()
        return (_WEB_PAGE, True) if text.startswith("<") else (text, False)
    if isinstance(content, list) and content:
        content = content[0]
    for key in ("error", "message", "detail", "error_description"):
        inner = content.get(key) if isinstance(content, dict) else None
        if isinstance(inner, dict):
            inner = inner.get("message")
        if inner and key == "error" and isinstance(content.get("error_description"), str):
            inner = content["error_description"]
        if isinstance(inner, str) and inner.strip():
            return inner, True
    return json_text.write(content).decode(), True


def request_secrets(*, url: str, headers: Iterable[tuple[str, str]]) -> list[str]:
    """Values of an upstream request that must not appear in an error: header values, their parts, values of the URL's query."""
    values = [value for name, value in headers if name.lower() not in _NOT_SECRET_HEADERS]
    query = url.partition("?")[2]
    parts = [part.partition("=")[2] for part in query.split("&") if not part.startswith("api-version=")]
    ids = [found[1] for value in values if (found := _AWS_KEY_ID.search(value))]
    words = [value.rpartition(" ")[2] for value in values if " " in value]
    return [*values, *words, *ids, *parts, *map(unquote, parts)]


def _shortened(name: str) -> str:
    return name if len(name) <= 80 else name[:80] + "…"
