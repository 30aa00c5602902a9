"""Requests to a provider, as data, with the signature or token that the sender must add.

No I/O, clock or token requests. A provider's file builds the requests from a body in OpenAI's format and a config with plaintext
secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import TranslatableText, _
from serving_ui.lib import json_text

Headers = tuple[tuple[str, str], ...]

OPENAI_PATHS = {
    Task.CHAT: "/chat/completions",
    Task.COMPLETIONS: "/completions",
    Task.EMBEDDINGS: "/embeddings",
}
"""The paths of an OpenAI-compatible API under its base URL."""

GATEWAY_FIELDS = ("usage_context", "client_request_id", "extra_params")
"""Fields for the gateway, which are not sent to the provider."""

_NOT_FORWARDED = frozenset({*GATEWAY_FIELDS, "model"})


class UnsupportedRequest(Exception):
    """The provider does not support the caller's request. The text is a sentence for the caller."""


class SecretUnusable(Exception):
    """A secret cannot be sent in any request. The text is a sentence that contains nothing of the secret."""


@dataclass(frozen=True, slots=True)
class AwsSigV4:
    """Sign the request with AWS Signature Version 4."""

    service: str
    region: str
    access_key_id: Secret
    secret_access_key: Secret


@dataclass(frozen=True, slots=True)
class AwsInstanceProfile:
    """Sign with AWS Signature Version 4 and the keys of the EC2 instance, if it has this instance profile."""

    service: str
    region: str
    arn: str


@dataclass(frozen=True, slots=True)
class GoogleServiceAccount:
    """Exchange a JWT signed with the service account's key at `token_url` for a bearer token."""

    key_json: Secret
    scope: str
    token_url: str


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Get a bearer token from `token_url` with the OAuth client credentials grant."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str


Auth = AwsSigV4 | AwsInstanceProfile | GoogleServiceAccount | ClientCredentials


@dataclass(slots=True)
class UpstreamRequest:
    """Not frozen, because constructing a frozen dataclass is slow and each query constructs one."""

    method: str
    url: str
    headers: Headers = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    auth: Auth | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Addresses:
    """Replacements of the vendors' URLs, by provider name or "microsoft-entra": the settings SERVING_UI_BASE_URL_<PROVIDER>."""

    replaced: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def vendor(self, default_url: str, name: str) -> str:
        """The default URL, with scheme, host and port replaced if there is a replacement for `name`."""
        replacement = self.replaced.get(name)
        if replacement is None:
            return default_url
        target = urlsplit(replacement)
        return urlunsplit(urlsplit(default_url)._replace(scheme=target.scheme, netloc=target.netloc))


def origin(url: str) -> str:
    """Scheme, host and port of a URL, with the port even if it is the default."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return f"{parts.scheme.lower()}://{host}:{port}"


def normalized_url(url: str) -> str:
    """Origin and path of a URL, equal for URLs that differ only in case, default port or a trailing slash."""
    return origin(url) + urlsplit(url).path.rstrip("/")


def get(url: str, headers: Iterable[tuple[str, str]] = (), *, auth: Auth | None = None) -> UpstreamRequest:
    return UpstreamRequest("GET", url, (("Accept", "application/json"), *headers), None, auth)


def post_json(
    url: str,
    body: Mapping[str, Any],
    headers: Iterable[tuple[str, str]] = (),
    *,
    auth: Auth | None = None,
    accept: str = "",
) -> UpstreamRequest:
    accept = accept or ("text/event-stream" if body.get("stream") is True else "application/json")
    sent = (("Content-Type", "application/json"), ("Accept", accept), *headers)
    return UpstreamRequest("POST", url, sent, json_text.write(body), auth)


def openai_body(body: Mapping[str, Any], *, model: str | None) -> dict[str, Any]:
    """The caller's body for an OpenAI-compatible API.

    Unknown fields pass through. `extra_params` is merged in, but does not override fields of the body, and its `stream` is ignored,
    because the gateway has already decided how to respond. `model` is None if the URL contains the model.
    """
    extra = body.get("extra_params")
    if extra is not None and not isinstance(extra, Mapping):
        raise UnsupportedRequest(_("extra_params must be an object with the provider's own parameters."))
    sent: dict[str, Any] = {} if model is None else {"model": model}
    if extra:
        sent |= {
            name: value for name, value in extra.items() if name not in _NOT_FORWARDED and name != "stream"
        }
    if _NOT_FORWARDED.isdisjoint(body):  # the usual case for the invocations path
        return {**sent, **body}
    for name, value in body.items():
        if name not in _NOT_FORWARDED:
            sent[name] = value
    return sent


def header_value(secret: Secret | None) -> str:
    """The value of a secret for a header, without surrounding white space. Raises SecretUnusable."""
    value = secret.reveal().strip() if secret is not None else ""
    if not value or not value.isascii() or not value.isprintable():
        message: TranslatableText = _(
            "The stored secret is empty or contains a character that cannot be sent. Store it again."
        )
        raise SecretUnusable(message)
    return value


def header(name: str, secret: Secret | None, *, prefix: str = "") -> tuple[str, str]:
    """A header that contains a secret. Raises SecretUnusable."""
    return (name, prefix + header_value(secret))


def bearer(secret: Secret | None) -> tuple[str, str]:
    return ("Authorization", "Bearer " + header_value(secret))


def path_segment(value: str) -> str:
    """The value, percent-encoded as one segment of a path."""
    return quote(value, safe="")
