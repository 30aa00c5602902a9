"""How much text a request gives the model: the number of characters from which input tokens are estimated. Pure.

Only texts that a model may read count. Of the fields that OpenAI's API knows these are listed; any other field (`system`,
`documents` of another vendor) may be one.
"""

from __future__ import annotations

from typing import Any

from serving_ui.catalogue.openai_request import OPENAI_FIELDS
from serving_ui.catalogue.upstream import GATEWAY_FIELDS

_TEXT_FIELDS = frozenset({
    "messages", "prompt", "input", "suffix", "tools", "functions", "response_format", "prediction", "web_search_options",
})  # fmt: skip
_IGNORED_FIELDS = (OPENAI_FIELDS - _TEXT_FIELDS).union(
    GATEWAY_FIELDS,
    ("include", "previous_response_id", "conversation", "truncation", "background"),  # of the Responses API
)
_IGNORED_TEXTS = frozenset({"role", "type", "id", "tool_call_id"})
_TOKEN_FIELDS = frozenset({"prompt", "input"})
"""Fields whose numbers are token ids: the caller has tokenised the text."""
_CHARS_PER_TOKEN = 4
_FILE_FIELDS = frozenset(
    {"url", "uri", "image", "images", "image_url", "file_url", "file_data", "audio_url", "video_url"}
)
"""Fields in which a data URL is a file. In any other field it counts as text."""
_PROPERTY_FIELDS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Objects of a JSON schema whose keys are text of the caller."""


def text_length(body: dict[str, Any]) -> int:
    """Characters of all texts for the model in a request body with its `extra_params`."""
    if isinstance(body.get("extra_params"), dict):
        body = {**body["extra_params"], **body}
    total = 0
    for name, value in body.items():
        if name not in _IGNORED_FIELDS:
            total += _length(value, name)
    return total


def _length(value: Any, name: str) -> int:
    """Characters of the texts in the value of the field `name`. Loops, because generators are slower for so few items."""
    if isinstance(value, str):
        return 0 if name in _FILE_FIELDS and value.startswith("data:") else len(value)
    total = 0
    if isinstance(value, list):
        for item in value:
            total += _length(item, name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in _IGNORED_TEXTS or not isinstance(inner, str):
                total += _length(inner, key)
        if name in _PROPERTY_FIELDS:
            total += sum(map(len, value))
    elif isinstance(value, int) and name in _TOKEN_FIELDS:
        return _CHARS_PER_TOKEN
    return total
