"""The head of a request to a provider, and the TLS context for it. Opens no connection.

Both the gateway's client and the credential check of the control plane use it, so that a check cannot succeed where a query fails.
"""

from __future__ import annotations

import ssl

import certifi

from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.connection import UpstreamFault
from serving_ui.lib import http_url
from serving_ui.lib.http_url import HttpUrl, InvalidUrl


class InvalidUpstreamRequest(UpstreamFault):
    """The endpoint's config gives a request that HTTP cannot express."""


def address_of(url: str) -> HttpUrl:
    """The parsed URL. Raises InvalidUpstreamRequest."""
    try:
        return http_url.parse(url)
    except InvalidUrl as problem:
        raise InvalidUpstreamRequest("its address is not a valid URL") from problem


def header_fields(request: UpstreamRequest, address: HttpUrl) -> list[tuple[str, str]]:
    """The header fields in order, without `content-length`."""
    return [("host", address.authority), ("accept-encoding", "identity"), *request.headers]


def head(request: UpstreamRequest, address: HttpUrl) -> bytes:
    """The head up to the value of `content-length`, which is its last field. Raises InvalidUpstreamRequest.

    A line break in a header (a key pasted with its newline) would let its value add headers or a second request.
    """
    lines = [f"{request.method} {address.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in header_fields(request, address)]
    lines.append("content-length: ")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\0" in text:
        raise InvalidUpstreamRequest("a value in its configuration contains a line break")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as problem:
        raise InvalidUpstreamRequest(
            "a value in its configuration contains a character that no header may have"
        ) from problem


def tls_context() -> ssl.SSLContext:
    """A TLS context with the system's certificate authorities, or certifi's where it has none (slim images). Takes 20 ms."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context
