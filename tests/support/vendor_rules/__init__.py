"""What the vendors reject and with which messages, from their documentation and from errors that people have reported.

The server of tests/support/vendor.py responds with these messages, and all recordings are checked, so that no test sends a request
that the real vendor would reject. Where the documentation is not clear, the stricter reading applies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import unquote

from tests.support.vendor_rules.amazon_bedrock import check_converse
from tests.support.vendor_rules.anthropic import check_complete, check_messages
from tests.support.vendor_rules.checks import Json, Rejected
from tests.support.vendor_rules.google import check_generate_content
from tests.support.vendor_rules.openai_shaped import (
    check_cohere_chat,
    check_cohere_generate,
    check_jamba_chat,
)


def rejection(path: str, content: bytes | None) -> str | None:
    """The vendor's message if the vendor at this path rejects the request body; None if it accepts it."""
    if content is None or content[:1] != b"{":  # a form, or no body
        return None
    try:
        body = json.loads(content, parse_constant=_reject_constant)
        for pattern, check in _CHECKS:
            if found := pattern.search(path):
                check(body, unquote(found[1]) if found.groups() else "")
    except Rejected as rejected:
        return str(rejected)
    return None


def _reject_constant(name: str) -> None:
    raise Rejected(f"Unexpected token {name} is not valid JSON")


_CHECKS: list[tuple[re.Pattern[str], Callable[[Json, str], None]]] = [
    (re.compile(r"/v1/messages$"), check_messages),
    (re.compile(r"/v1/complete$"), check_complete),
    (re.compile(r"/model/([^/]+)/converse"), check_converse),
    (re.compile(r":(g|streamG)enerateContent"), check_generate_content),
    (re.compile(r"/v2/chat$"), check_cohere_chat),
    (re.compile(r"/v1/generate$"), check_cohere_generate),
    (re.compile(r"/studio/v1/chat/completions$"), check_jamba_chat),
    (re.compile(r"/studio/v1/[^/]+/complete$"), check_complete),
]
