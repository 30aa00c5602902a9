"""Which addresses processes listen on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

_LISTEN = "0A"


def listening_beyond_loopback(processes: Iterable[int]) -> dict[int, list[int]]:
    """The ports on which each of the processes listens on an address that is not loopback."""
    open_ports = {
        inode: (address, port) for name in ("tcp", "tcp6") for inode, address, port in _listeners(name)
    }
    found: dict[int, list[int]] = {}
    for process in processes:
        for inode in _sockets(process):
            address, port = open_ports.get(inode, ("127.0.0.1", 0))
            if not _is_loopback(address):
                found.setdefault(process, []).append(port)
    return found


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
