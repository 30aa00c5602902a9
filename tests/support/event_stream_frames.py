"""Encodes Amazon's event streams for the vendor servers of the tests. Source: "event stream encoding", docs.aws.amazon.com."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"


def frame(headers: Mapping[str, str], payload: bytes = b"") -> bytes:
    """One frame: lengths, their checksum, the headers (all of type string), the payload, the checksum of everything."""
    written = b"".join(
        struct.pack(">B", len(name))
        + name.encode()
        + struct.pack(">BH", 7, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    head = struct.pack(">II", 16 + len(written) + len(payload), len(written))
    whole = head + struct.pack(">I", crc32(head)) + written + payload
    return whole + struct.pack(">I", crc32(whole))


def event(name: str, data: Any) -> bytes:
    """An event, or the exception by which a service ends its stream."""
    kind = "exception" if name.endswith("Exception") else "event"
    headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    return frame(headers, json.dumps(data).encode())
