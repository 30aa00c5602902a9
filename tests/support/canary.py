"""Searches data for secret values in clear and in the usual encodings."""

from __future__ import annotations

import base64
import html
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

CANARY = "sk-canary-7f3a9c51e2d84b60"  # searched for in everything that a run leaves behind


def encodings(value: str) -> set[bytes]:
    """The value in clear, quoted for URLs, HTML and JSON, in hex, and in base64 wherever it begins in the encoded text."""
    clear = value.encode()
    texts = {value, quote(value, safe=""), quote(value), quote_plus(value), html.escape(value)}
    texts |= {json.dumps(value)[1:-1], repr(value)[1:-1]}
    found = {text.encode() for text in texts} | {clear.hex().encode(), clear.hex().upper().encode()}
    for shift in range(3):
        # The bytes before and after the value change the first and the last characters, which are left out.
        encoded = base64.b64encode(b"\0" * shift + clear)
        certain = encoded[4 if shift else 0 : -4]
        found |= {certain, certain.replace(b"+", b"-").replace(b"/", b"_")}
    return found


class Search:
    """Finds every encoding of every value."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = {encoding: value for value in values for encoding in encodings(value)}

    def find(self, content: bytes) -> set[str]:
        """The values that the content contains in any encoding."""
        return {value for encoding, value in self._values.items() if encoding in content}

    def find_all(self, contents: Iterable[tuple[str, bytes]]) -> list[str]:
        """A description of each place where a value was found."""
        return [f"{found} in {where}" for where, content in contents for found in self.find(content)]


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder."""
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):  # deleted meanwhile, such as a message of the broker
            if path.is_file():
                yield str(path.relative_to(folder)), path.read_bytes()


def tables(database: Path) -> Iterator[tuple[str, bytes]]:
    """Every row of every table, and the decoded content of every session."""
    with closing(sqlite3.connect(database)) as connection:
        for number, line in enumerate(connection.iterdump()):
            yield f"line {number} of the dump", line.encode()
        for key, data in connection.execute("SELECT session_key, session_data FROM django_session"):
            yield f"session {key}", _decode_session(data)


def _decode_session(session: str) -> bytes:
    """The content of Django's signed and perhaps compressed session."""
    payload = session.split(":", maxsplit=1)[0]
    packed = payload.removeprefix(".")
    content = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    return zlib.decompress(content) if payload.startswith(".") else content
