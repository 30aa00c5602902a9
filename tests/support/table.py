"""A table of rules: a row is a conversation, a column a vendor, of Bedrock one for each maker.

A cell is what the vendor is told, or the words of a refusal; those of a row that are alike are said once, as `cell`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from serving_ui.catalogue.upstream import UnsupportedRequest
from tests.support.columns import COLUMNS, Column
from tests.support.told import Call, Result, Turn

BEDROCK = tuple(each.name for each in COLUMNS if each.name.startswith("bedrock"))
APART = ("bedrock-cohere", "bedrock-ai21labs", "bedrock-grok")
"""Whose models may refuse texts beside calls and results."""
USER = ("user", "Hi")


@dataclass(frozen=True)
class Refused:
    """The question is refused with these words, the parameter's name among them."""

    words: str


Cell = list[Turn] | Refused


@dataclass(frozen=True)
class Row:
    rule: str
    messages: list[dict[str, Any]]
    cell: Cell
    but: dict[str, Cell] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    """Further parameters of the question."""
    system: str = ""
    tools: dict[str, list[str]] | None = None
    """Which tools the columns are told of, where that is the rule; `""` stands for all others."""
    choice: dict[str, str] | None = None

    def __str__(self) -> str:
        return self.rule


def assert_cell(row: Row, column: Column) -> None:
    """The vendor is told what the cell says, and would take it."""
    question = {"messages": row.messages, **row.more}
    cell = row.but.get(column.name, row.cell)
    if isinstance(cell, Refused):
        with pytest.raises(UnsupportedRequest) as refused:
            column.sent(question)
        assert cell.words in str(refused.value)
        return
    told = column.told(question)
    assert told.turns == (without_ids(cell) if column.name == "vertex" else cell)
    assert told.system == row.system
    if row.tools is not None:
        assert told.tools == row.tools.get(column.name, row.tools[""])
    if row.choice is not None:
        assert told.choice == row.choice.get(column.name, row.choice[""])


def without_ids(turns: list[Turn]) -> list[Turn]:
    """Vertex AI pairs calls and results by their order."""

    def bare(item: Any) -> Any:
        match item:
            case Call():
                return Call("", item.name, item.arguments)
            case Result():
                return Result("", item.content)
        return item

    return [tuple(bare(item) for item in turn) for turn in turns]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any = None, *calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {}), **more}


def call(call_id: Any, name: str = "f", **function: Any) -> dict[str, Any]:
    given = {"id": call_id} if call_id is not None else {}
    return {**given, "type": "function", "function": {"name": name, "arguments": "{}", **function}}


def tool(call_id: Any, content: Any = "1") -> dict[str, Any]:
    given = {"tool_call_id": call_id} if call_id is not None else {}
    return {"role": "tool", "content": content, **given}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def tools(*names: str) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": name}} for name in names]}


def every(columns: tuple[str, ...], cell: Any) -> dict[str, Any]:
    return dict.fromkeys(columns, cell)


def results(*pairs: tuple[str, str]) -> Turn:
    return ("results", *(Result(call_id, content) for call_id, content in pairs))
