"""A table of rules: a row is a conversation, a column a vendor (Bedrock once per model maker).

A cell holds the turns that the vendor is sent, or the words of a refusal. `Row.cell` is the default of a row, `Row.exceptions` has the other cells by column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from serving_ui.catalogue.upstream import UnsupportedRequest
from tests.support.rule_columns import COLUMNS, Column
from tests.support.vendor_requests import ToolCall, ToolResult, Turn

BEDROCK = tuple(each.name for each in COLUMNS if each.name.startswith("bedrock"))
NO_TEXT_BESIDE_TOOLS = ("bedrock-cohere", "bedrock-ai21labs", "bedrock-grok")
"""Vendors whose models may refuse a message that has text beside tool calls or results."""
USER = ("user", "Hi")


@dataclass(frozen=True)
class Refused:
    """The request is refused with a sentence that contains these words, such as the name of the parameter."""

    words: str


Cell = list[Turn] | Refused


@dataclass(frozen=True)
class Row:
    rule: str
    messages: list[dict[str, Any]]
    cell: Cell
    exceptions: dict[str, Cell] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    """Further parameters of the request."""
    system: str = ""
    tools: dict[str, list[str]] | None = None
    """Expected tool names by column; `""` is the default. None: not checked."""
    choice: dict[str, str] | None = None

    def __str__(self) -> str:
        return self.rule


def assert_cell(row: Row, column: Column) -> None:
    """Assert that the upstream request is what the cell says, and that vendor_rules accepts it."""
    openai_request = {"messages": row.messages, **row.more}
    cell = row.exceptions.get(column.name, row.cell)
    if isinstance(cell, Refused):
        with pytest.raises(UnsupportedRequest) as refused:
            column.sent(openai_request)
        assert cell.words in str(refused.value)
        return
    request = column.vendor_request(openai_request)
    assert request.turns == (without_ids(cell) if column.name == "vertex" else cell)
    assert request.system == row.system
    if row.tools is not None:
        assert request.tools == row.tools.get(column.name, row.tools[""])
    if row.choice is not None:
        assert request.choice == row.choice.get(column.name, row.choice[""])


def without_ids(turns: list[Turn]) -> list[Turn]:
    """The turns without ids: Vertex AI matches calls and results by order."""

    def bare(item: Any) -> Any:
        match item:
            case ToolCall():
                return ToolCall("", item.name, item.arguments)
            case ToolResult():
                return ToolResult("", item.content)
        return item

    return [tuple(bare(item) for item in turn) for turn in turns]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any = None, *calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {}), **more}


def call(call_id: Any, name: str = "f", **function: Any) -> dict[str, Any]:
    identity = {"id": call_id} if call_id is not None else {}
    return {**identity, "type": "function", "function": {"name": name, "arguments": "{}", **function}}


def tool(call_id: Any, content: Any = "1") -> dict[str, Any]:
    identity = {"tool_call_id": call_id} if call_id is not None else {}
    return {"role": "tool", "content": content, **identity}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def tools(*names: str) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": name}} for name in names]}


def for_columns(columns: tuple[str, ...], cell: Any) -> dict[str, Any]:
    return dict.fromkeys(columns, cell)


def results(*pairs: tuple[str, str]) -> Turn:
    return ("results", *(ToolResult(call_id, content) for call_id, content in pairs))
