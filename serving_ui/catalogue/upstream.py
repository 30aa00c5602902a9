"""Requests to a provider, as data: what to send where, and which signature or token the sender must add.

Pure: nothing here opens a connection, reads a clock or fetches a token. A provider's file builds these from an OpenAI-shaped body
and a config whose secrets are plaintexts.
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
"""What an upstream that speaks the OpenAI wire has under its base address."""

GATEWAY_FIELDS = ("usage_context", "client_request_id", "extra_params")
"""Meant for this server and not for the provider."""

_NOT_FORWARDED = frozenset({*GATEWAY_FIELDS, "model"})


class UnsupportedRequest(Exception):
    """The caller's request cannot be passed on; the text is a sentence for the caller."""


class SecretUnusable(Exception):
    """A resolved secret cannot be sent, whatever the request; the text is a sentence and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class AwsSigV4:
    """Sign the request with AWS Signature Version 4."""

    service: str
    region: str
    access_key_id: Secret
    secret_access_key: Secret


@dataclass(frozen=True, slots=True)
class AwsInstanceProfile:
    """The same, with the keys that AWS gives the machine which sends, if it has this instance profile."""

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
    """Ask `token_url` for a bearer token with the OAuth client credentials grant."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str


Auth = AwsSigV4 | AwsInstanceProfile | GoogleServiceAccount | ClientCredentials


@dataclass(slots=True)
class UpstreamRequest:
    """Made for every query and not frozen, because that would take longer than all that it is made of."""

    method: str
    url: str
    headers: Headers = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    auth: Auth | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Addresses:
    """Replaced vendor addresses, by provider name (and "microsoft-entra")."""

    replaced: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def vendor(self, default_url: str, name: str) -> str:
        """A vendor's default address, with scheme, host and port replaced when `name` is; the path stays."""
        replacement = self.replaced.get(name)
        if replacement is None:
            return default_url
        target = urlsplit(replacement)
        return urlunsplit(urlsplit(default_url)._replace(scheme=target.scheme, netloc=target.netloc))


def origin(url: str) -> str:
    """Scheme, host and port of an address, always with the port."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return f"{parts.scheme.lower()}://{host}:{port}"


def normalized_url(url: str) -> str:
    """An address with its path, spelled alike when it leads to the same place."""
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
    """The caller's body for an upstream that speaks the OpenAI wire.

    Unknown fields pass through. `extra_params` is merged in and never overrides what stands in the body itself; whether to
    stream is not an extra, because the gateway decides how to answer before. `model` None leaves it to the address.
    """
    extra = body.get("extra_params")
    if extra is not None and not isinstance(extra, Mapping):
        raise UnsupportedRequest(_("extra_params must be an object with the provider's own parameters."))
    sent: dict[str, Any] = {} if model is None else {"model": model}
    if extra:
        sent |= {
            name: value for name, value in extra.items() if name not in _NOT_FORWARDED and name != "stream"
        }
    if _NOT_FORWARDED.isdisjoint(body):  # as at the paths of invocations
        return {**sent, **body}
    for name, value in body.items():
        if name not in _NOT_FORWARDED:
            sent[name] = value
    return sent


def header_value(secret: Secret | None) -> str:
    """The value of a secret for a header. White space around a key is a slip of the hand and never part of it."""
    value = secret.reveal().strip() if secret is not None else ""
    if not value or not value.isascii() or not value.isprintable():
        message: TranslatableText = _(
            "The stored secret is empty or contains a character that cannot be sent. Store it again."
        )
        raise SecretUnusable(message)
    return value


def header(name: str, secret: Secret | None, *, prefix: str = "") -> tuple[str, str]:
    """A header with a secret in it. Raises SecretUnusable."""
    return (name, prefix + header_value(secret))


def bearer(secret: Secret | None) -> tuple[str, str]:
    return ("Authorization", "Bearer " + header_value(secret))


def path_segment(value: str) -> str:
    """A value as one segment of a path."""
    return quote(value, safe="")
