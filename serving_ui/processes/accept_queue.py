"""Stops a listening socket without resetting connections that are already established."""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

_SO_ATTACH_FILTER = 26  # Linux; Python's socket module does not define it
# Classic BPF, run on the TCP header of each packet: byte 13 has the flags, bit 2 is SYN. Packets with SYN are dropped.
_DROP_SYN = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in ((0x30, 0, 0, 13), (0x45, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)
_DRAIN_SECONDS = 5.0
_POLL_SECONDS = 0.02


def drain_accept_queue(listeners: Sequence[socket.socket]) -> None:
    """Refuse new connections, then wait until the workers have accepted all established ones, at most 5 s.

    Closing a socket resets the connections that are still in its accept queue, and their request may have been sent already.
    A client whose SYN is dropped repeats it after a second and is then refused by the closed port.
    """
    instructions = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    program = struct.pack("HP", len(_DROP_SYN) // 8, ctypes.addressof(instructions))
    with suppress(OSError):  # not Linux
        for each in listeners:
            each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    deadline = time.monotonic() + _DRAIN_SECONDS
    empty_polls = 0
    while empty_polls < 2 and time.monotonic() < deadline:  # twice: a handshake may just be completing
        time.sleep(_POLL_SECONDS)
        waiting, _, _ = select.select(listeners, [], [], 0)
        empty_polls = 0 if waiting else empty_polls + 1
