"""Parses http(s) URLs for everything that sends requests: the outbound policy, the gateway and the credential check.

If they parsed a URL differently, a URL could bypass the policy, or pass the check and fail in queries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import SplitResult, quote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PATH = "/%:@!$&'()*+,;=~-._"
_QUERY = _PATH + "?"
_NAME = re.compile(r"[a-z0-9._-]+")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
# Python implements IDNA 2003, in which these four characters lead to another host than in a browser (IDNA 2008).
_AMBIGUOUS = frozenset("\u00df\u03c2\u200c\u200d")


class InvalidUrl(ValueError):
    """The URL cannot be used. The text is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """The destination of a request.

    `host` is ASCII and lower case, without brackets or a final dot. `target` is the path with the query, percent-encoded.
    """

    secure: bool
    host: str
    port: int
    target: str

    @property
    def host_and_port(self) -> str:
        """Includes the port also if it is the default port."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def authority(self) -> str:
        """The value of the header Host: without the port if it is the default port of the scheme."""
        is_usual = self.port == (443 if self.secure else 80)
        return bracketed(self.host) if is_usual else self.host_and_port


def parse(url: str) -> HttpUrl:
    """Raises InvalidUrl."""
    # urlsplit silently removes some of these characters; other parsers do not.
    if any(character.isspace() or ord(character) < 32 or character == "\\" for character in url):
        raise InvalidUrl("The URL contains a space or a character that is not allowed in a URL. Check it.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise InvalidUrl("The URL is invalid. Check the host and the port.") from problem
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidUrl("The URL must start with https:// or http://.")
    if "@" in parts.netloc:
        raise InvalidUrl(
            "The URL must not contain a user name or password. Give the credentials in their own field."
        )
    if not parts.hostname:
        raise InvalidUrl("The URL has no host. Give one, such as https://api.example.com/v1.")
    if port == 0:
        raise InvalidUrl("The URL is invalid. Check the host and the port.")
    return HttpUrl(
        secure=parts.scheme == "https",
        host=ascii_host(parts.hostname),
        port=port or _DEFAULT_PORTS[parts.scheme],
        target=_target(parts),
    )


def ascii_host(host: str) -> str:
    """The host as sent to the name server: lower case, international names as IDNA. Raises InvalidUrl."""
    plain = host.strip("[]").rstrip(".").lower()
    if ":" in plain:
        try:
            IPv6Address(plain)
        except ValueError as problem:
            raise InvalidUrl("The URL is invalid. Check the host and the port.") from problem
        return plain
    if not _AMBIGUOUS.isdisjoint(plain):
        raise InvalidUrl(
            "The name of the host is ambiguous. Give it in its ASCII form, which starts with xn--."
        )
    try:
        # Also for ASCII: the resolver refuses empty labels and those over 63 characters with the same error.
        name = plain.encode("idna").decode().rstrip(".").lower()
    except UnicodeError as problem:
        raise InvalidUrl("The host is not a valid name. Check its spelling.") from problem
    if not name:
        raise InvalidUrl("The URL has no host. Give one, such as https://api.example.com/v1.")
    if not _NAME.fullmatch(name):  # IDNA turns "´" into a space, and accepts all ASCII characters
        raise InvalidUrl("The host is not a valid name. Check its spelling.")
    return name


def bracketed(host: str) -> str:
    """The host as written in a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def _target(parts: SplitResult) -> str:
    try:
        target = quote(parts.path or "/", safe=_PATH)
        if parts.query:
            target += "?" + quote(parts.query, safe=_QUERY)
    except UnicodeEncodeError as problem:  # half of a surrogate pair
        raise InvalidUrl("The URL contains a character that is not allowed in a URL. Check it.") from problem
    return _PERCENT.sub(lambda found: found[0].upper() if found[1] else "%25", target)
