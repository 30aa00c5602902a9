"""The one outbound policy: which hosts and addresses this server may send a request to.

It is asked twice: about the URL when it is saved, and about the *resolved* address when a connection is made, so that a name
that changes its address between the two gains nothing. It opens no connection and follows no redirect itself.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

# Where clouds hand out the credentials of a machine to whoever asks from it. Listing them changes nothing.
_METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_NEVER = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local, where most clouds put it
        "fe80::/10",
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "0.0.0.0/8",  # "this machine": connects to loopback under another name
        "::/128",
        "255.255.255.255/32",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


class EgressRefused(Exception):
    """The policy does not allow it. The text is a sentence for a person."""


@dataclass(frozen=True)
class EgressPolicy:
    """What may be reached. Public addresses always; private and loopback ones only when listed; metadata never."""

    listed: tuple[str, ...] = ()
    loopback: bool = False

    @cached_property
    def _entries(self) -> tuple[_Entry, ...]:
        return tuple(_Entry.parse(text) for text in self.listed if text.strip())

    def check_url(self, url: str) -> None:
        """Raise EgressRefused unless `url` is one that a request may ever be sent to. Resolves nothing."""
        host, port = _split(url)
        if host in _METADATA_NAMES:
            raise EgressRefused(
                f"{host} hands out machine credentials and can never be used. Give another host."
            )
        literal = _literal(host)
        if literal is not None:
            self.check_address(host=host, port=port, address=str(literal))
        elif host == "localhost" or host.endswith(".localhost"):
            self.check_address(host=host, port=port, address="127.0.0.1")

    def check_address(self, *, host: str, port: int, address: str) -> None:
        """Raise EgressRefused unless a connection to `address`, which `host` has been resolved to, is allowed."""
        host = _plain(host)
        if host in _METADATA_NAMES or any(_never(each) for each in _meanings(address)):
            raise EgressRefused(f"{host} leads to an address that can never be used. Give another host.")
        for each in _meanings(address):
            if not self._allows(host=host, port=port, address=each):
                kind = "this machine" if each.is_loopback else "a private network"
                raise EgressRefused(
                    f"{host} leads to {kind}, which is not allowed. "
                    "An administrator can list it in SERVING_UI_EGRESS_ALLOW."
                )

    def resolve(self, *, host: str, port: int) -> list[str]:
        """The allowed addresses of `host`, in the system's order. Blocks; raises EgressRefused or OSError."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        allowed: list[str] = []
        refused: EgressRefused | None = None
        for address in dict.fromkeys(str(entry[4][0]) for entry in found):
            try:
                self.check_address(host=host, port=port, address=address)
            except EgressRefused as refusal:
                refused = refusal
            else:
                allowed.append(address)
        if not allowed:
            raise refused or EgressRefused(f"{host} has no address. Check the spelling of the host.")
        return allowed

    def _allows(self, *, host: str, port: int, address: Address) -> bool:
        if address.is_loopback and self.loopback:
            return True
        if address.is_global and not address.is_multicast:
            return True
        return any(entry.covers(host=host, port=port, address=address) for entry in self._entries)


@dataclass(frozen=True)
class _Entry:
    """One listed "host", "host:port", address or CIDR."""

    text: str
    network: object
    port: int | None

    @classmethod
    def parse(cls, text: str) -> _Entry:
        text = text.strip().lower()
        try:
            return cls(text, ip_network(text.strip("[]"), strict=False), None)
        except ValueError:
            pass
        try:
            host, port = _split(f"http://{text}", default_port=None)
        except EgressRefused as problem:
            raise ValueError(f"{text!r} is not a host, host:port or CIDR.") from problem
        literal = _literal(host)
        return cls(host, ip_network(literal) if literal else None, port or None)

    def covers(self, *, host: str, port: int, address: Address) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network  # type: ignore[operator]
        return self.text == host


def _split(url: str, default_port: int | None = -1) -> tuple[str, int]:
    """Host and port of an http(s) URL, or a refusal that says what is wrong with it."""
    if any(character.isspace() or ord(character) < 32 or character == "\\" for character in url):
        raise EgressRefused("The URL contains a space or a character that no URL has. Check it.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise EgressRefused("The URL cannot be understood. Check the host and the port.") from problem
    if parts.scheme not in {"http", "https"}:
        raise EgressRefused("The URL must start with https:// or http://.")
    if "@" in parts.netloc:
        raise EgressRefused(
            "The URL must not contain a user name or password. Give the credentials in their own field."
        )
    if not parts.hostname:
        raise EgressRefused("The URL has no host. Give one, such as https://api.example.com/v1.")
    if port is None:
        port = default_port if default_port != -1 else (443 if parts.scheme == "https" else 80)
    return _plain(parts.hostname), port or 0


def _plain(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")


def _literal(host: str) -> Address | None:
    """The address that `host` spells, in any notation that the system's resolver takes (0x7f.1, 2130706433, …)."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _meanings(address: str) -> tuple[Address, ...]:
    """The address, and the IPv4 one that it carries inside, if any: both must be allowed."""
    plain = ip_address(address.partition("%")[0])
    if isinstance(plain, IPv4Address):
        return (plain,)
    if plain.ipv4_mapped is not None:
        return (plain.ipv4_mapped,)
    inner = plain.sixtofour
    if plain in _NAT64:
        inner = IPv4Address(int(plain) & 0xFFFFFFFF)
    return (plain,) if inner is None else (plain, inner)


def _never(address: Address) -> bool:
    reserved = isinstance(address, IPv4Address) and address.is_reserved
    return reserved or address.is_multicast or any(address in network for network in _NEVER)
