"""The outbound policy: which hosts and addresses this server may send a request to.

It checks the URL when it is saved, and the *resolved* address when a connection is made, so that a name whose address changes
in between does not bypass it. It opens no connection and follows no redirect.
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from serving_ui.lib import http_url
from serving_ui.lib.http_url import InvalidUrl

Address = IPv4Address | IPv6Address

# Cloud metadata services, which give the machine's credentials to any process on it. Never allowed, even if listed.
_METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_FORBIDDEN = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local, the metadata service of most clouds
        "fe80::/10",
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "0.0.0.0/8",  # "this machine": connects to loopback under another name
        "::/128",
        "224.0.0.0/4",  # multicast
        "ff00::/8",
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# IANA's registries of special-purpose addresses (RFC 6890), as of November 2026. Not `is_global` of Python's ipaddress, which
# differs between releases. These addresses are allowed only if they are listed.
_SPECIAL_PURPOSE = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by the customers of a provider
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
# The only allocated public range of IPv6. All others are private, site-local, for tunnels, discard-only or unused.
_PUBLIC_IPV6 = IPv6Network("2000::/3")
# Translation to IPv4 (RFC 6052): public if the embedded IPv4 address is.
_NAT64 = IPv6Network("64:ff9b::/96")
# Translation within one network (RFC 8215). The network's prefix length decides at which bytes the IPv4 address is.
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_LOCAL_NAT64_POSITIONS = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
_THIS_NETWORK = IPv4Network("0.0.0.0/8")


class EgressRefused(Exception):
    """The policy does not allow the address. The text is a sentence for a person."""


@dataclass(frozen=True)
class EgressPolicy:
    """Allows public addresses always, private ones only if listed, metadata and link-local ones never.

    Loopback addresses are allowed if listed, and all of them with `loopback`.
    """

    listed: tuple[str, ...] = ()
    loopback: bool = False

    @cached_property
    def _entries(self) -> tuple[_Entry, ...]:
        return tuple(_Entry.parse(text) for text in self.listed if text.strip())

    def check_url(self, url: str) -> None:
        """Raise EgressRefused if no request may be sent to `url`. Does not resolve the host."""
        try:
            found = http_url.parse(url)
        except InvalidUrl as problem:
            raise EgressRefused(str(problem)) from problem
        host, port = found.host, found.port
        if host in _METADATA_NAMES:
            raise EgressRefused(
                f"{host} is a metadata service, which gives out credentials and is never allowed. Give another host."
            )
        literal = _literal_address(host)
        if literal is not None:
            self.check_address(host=host, port=port, address=str(literal))
        elif host == "localhost" or host.endswith(".localhost"):
            self.check_address(host=host, port=port, address="127.0.0.1")

    def check_address(self, *, host: str, port: int, address: str) -> None:
        """Raise EgressRefused unless a connection to `address`, to which `host` was resolved, is allowed."""
        host = host.lower().strip("[]").rstrip(".")
        addresses = _with_embedded_addresses(address)
        if host in _METADATA_NAMES or any(_is_forbidden(each) for each in addresses):
            raise EgressRefused(f"{host} resolves to an address that is never allowed. Give another host.")
        if self.loopback and addresses[0].is_loopback:
            return
        for each in addresses:
            if not self._allows(host=host, port=port, address=each):
                kind = "this machine" if each.is_loopback else "a private network"
                raise EgressRefused(
                    f"{host} resolves to an address of {kind}, which is not allowed. "
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

    def start_resolving(self, *, host: str, port: int) -> Future[list[str]]:
        """`resolve` in its own thread, because a name server may take half a minute and would block a thread pool for others.

        The caller may cancel the future or set an exception.
        """
        found: Future[list[str]] = Future()

        def resolve() -> None:
            with suppress(InvalidStateError):
                try:
                    found.set_result(self.resolve(host=host, port=port))
                except Exception as problem:  # raised where the future is awaited
                    found.set_exception(problem)

        threading.Thread(target=resolve, name=f"resolve-{host}", daemon=True).start()
        return found

    def _allows(self, *, host: str, port: int, address: Address) -> bool:
        return _is_public(address) or any(
            entry.covers(host=host, port=port, address=address) for entry in self._entries
        )


@dataclass(frozen=True)
class _Entry:
    """One listed "host", "host:port", address or CIDR. Without a port it covers every port."""

    text: str
    network: IPv4Network | IPv6Network | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> _Entry:
        text = text.strip().lower()
        try:
            return cls(text, ip_network(text.strip("[]"), strict=False), None)
        except ValueError:
            pass
        try:
            host, port = http_url.parse(f"http://{text}").host, urlsplit(f"//{text}").port
        except ValueError as problem:
            raise ValueError(f"{text!r} is not a host, host:port or CIDR.") from problem
        literal = _literal_address(host)
        return cls(host, ip_network(literal) if literal else None, port)

    def covers(self, *, host: str, port: int, address: Address) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network
        return self.text == host


def _literal_address(host: str) -> Address | None:
    """The IP address if `host` is one, in any notation that the system's resolver accepts (0x7f.1, 2130706433, …)."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _with_embedded_addresses(address: str) -> tuple[Address, ...]:
    """The address, then the IPv4 addresses embedded in it, all of which must be allowed."""
    plain = ip_address(address.partition("%")[0])
    if isinstance(plain, IPv4Address):
        return (plain,)
    if plain.ipv4_mapped is not None:
        return (plain.ipv4_mapped,)
    return (plain, *_embedded_ipv4(plain))


def _embedded_ipv4(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses to which a translator or a tunnel would forward."""
    content = address.packed
    if address in _LOCAL_NAT64:
        found = [IPv4Address(bytes(content[at] for at in positions)) for positions in _LOCAL_NAT64_POSITIONS]
        return [each for each in found if each not in _THIS_NETWORK]  # empty if the prefix has another length
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    is_compatible = content[:12] == bytes(12) and int(address) > 1
    is_translated = content[:12] == bytes(8) + b"\xff\xff\0\0"  # SIIT
    is_isatap = content[8:12] in (b"\0\0\x5e\xfe", b"\x02\0\x5e\xfe")
    if address in _NAT64 or is_compatible or is_translated or is_isatap:
        return [IPv4Address(content[12:])]
    return []


def _is_public(address: Address) -> bool:
    if any(address in network for network in _SPECIAL_PURPOSE):
        return False
    return isinstance(address, IPv4Address) or address in _PUBLIC_IPV6 or address in _NAT64


def _is_forbidden(address: Address) -> bool:
    return any(address in network for network in _FORBIDDEN)
