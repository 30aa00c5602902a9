"""What a replica writes, without the values of its environment variables.

The server removes the values of today when it shows a log. Those that a secret had earlier are known to the replica only.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

from serving_ui.backends.ray_serve.environment import without_values

_FORMATTER = logging.Formatter()


class _Output:
    """A text stream that removes `values`, a list that may grow."""

    def __init__(self, stream: TextIO, values: list[str]) -> None:
        self._stream, self._values = stream, values

    def write(self, text: str) -> int:
        self._stream.write(without_values(text, self._values))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def redact_output(values: list[str], logger: logging.Logger) -> None:
    """Remove `values` from what this process prints from now on, and from the messages and exceptions of `logger`."""
    sys.stdout, sys.stderr = _Output(sys.stdout, values), _Output(sys.stderr, values)

    def without(record: logging.LogRecord) -> bool:
        record.msg, record.args = without_values(record.getMessage(), values), None
        if record.exc_info:
            record.exc_text = without_values(_FORMATTER.formatException(record.exc_info), values)
            record.exc_info = None
        return True

    logger.addFilter(without)
