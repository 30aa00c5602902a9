"""What leaves this server, whichever transport carries it: the head of a request, and whom TLS trusts. Opens no connection.

The gateway's client and the credential check of the control plane both send what is made here, so that a check cannot pass where
a query fails.
"""

from __future__ import annotations

import ssl

import certifi

from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.connection import UpstreamFault
from serving_ui.lib import http_url
from serving_ui.lib.http_url import HttpUrl, InvalidUrl


class InvalidUpstreamRequest(UpstreamFault):
    """The request cannot be put on the wire as the endpoint's config has it."""


def address_of(url: str) -> HttpUrl:
    """Where it goes. Raises InvalidUpstreamRequest."""
    try:
        return http_url.parse(url)
    except InvalidUrl as problem:
        raise InvalidUpstreamRequest("its address cannot be understood") from problem


def fields(request: UpstreamRequest, to: HttpUrl) -> list[tuple[str, str]]:
    """The header fields in their order, all but the body's length."""
    return [("host", to.authority), ("accept-encoding", "identity"), *request.headers]


def head(request: UpstreamRequest, to: HttpUrl) -> bytes:
    """All up to the body's length. Raises InvalidUpstreamRequest.

    A line break in a header (a key pasted with its newline) would be a second request.
    """
    lines = [f"{request.method} {to.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields(request, to)]
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


def trust() -> ssl.SSLContext:
    """The system's authorities; those of certifi where it has none, as in a slim image. Takes 20 ms: keep it."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context
