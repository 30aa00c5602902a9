"""Which addresses processes listen on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

_LISTEN = "0A"


def listening_beyond_loopback(processes: Iterable[int]) -> dict[int, list[int]]:
    """The ports on which each of the processes listens on an address that is not loopback."""
    found = {
        process: [port for address, port in _addresses(process) if not _is_loopback(address)]
        for process in processes
    }
    return {process: ports for process, ports in found.items() if ports}


def listening_ports(process: int) -> list[int]:
    return [port for _host, port in _addresses(process)]


def _addresses(process: int) -> list[tuple[str, int]]:
    listeners = {
        inode: (address, port) for name in ("tcp", "tcp6") for inode, address, port in _listeners(name)
    }
    return [listeners[inode] for inode in _sockets(process) if inode in listeners]


def _listeners(name: str) -> list[tuple[str, str, int]]:
    rows = [line.split() for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [(row[9], *_address(row[1])) for row in rows if row[3] == _LISTEN]


def _address(text: str) -> tuple[str, int]:
    """`0100007F:1F90` as `("127.0.0.1", 8080)`: four bytes at a time in the order of this machine, a little-endian one."""
    packed, _, port = text.partition(":")
    words = [bytes.fromhex(packed[at : at + 8])[::-1] for at in range(0, len(packed), 8)]
    return str(ip_address(b"".join(words))), int(port, 16)


def _is_loopback(text: str) -> bool:
    address = ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _sockets(process: int) -> list[str]:
    """The inodes of the sockets that the process has open."""
    found = []
    with contextlib.suppress(OSError):  # it has just ended
        for file in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(file.readlink())
                if target.startswith("socket:["):
                    found.append(target[8:-1])
    return found
