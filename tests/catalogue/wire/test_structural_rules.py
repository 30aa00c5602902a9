"""The table of the vendors' structural rules: what each is sent for conversations that OpenAI accepts and others do not.

Every cell is also checked with tests/support/vendor_rules. A provider with its own wire format but without a column fails, and so
does a cell without a column. The rules about tools are in test_structural_rules_of_tools.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import UnsupportedRequest
from tests.support.rule_columns import COLUMNS, Column
from tests.support.rule_table import (
    BEDROCK,
    USER,
    Refused,
    Row,
    assert_cell,
    assistant,
    call,
    for_columns,
    image,
    results,
    text,
    tool,
    tools,
    user,
)
from tests.support.vendor_requests import Picture, ToolCall, parse_vendor_request

PNG = "data:image/png;base64,iVBORw0KGgo="

ROLES = [
    Row("first role", [assistant("Welcome."), user("Hi")], [("user", "."), ("assistant", "Welcome."), USER]),
    Row("system only", [{"role": "system", "content": "Greet."}], [("user", ".")], system="Greet."),
    Row(
        "developer counts as system",
        [{"role": "developer", "content": "Greet."}, user("Hi")],
        [USER],
        system="Greet.",
    ),
    Row("blank system", [{"role": "system", "content": " \n"}, user("Hi")], [USER]),
    Row(
        "system in the middle",
        [user("Hi"), {"role": "system", "content": "Greet."}, user("Ho")],
        [("user", "Hi", "Ho")],
        {"cohere": [USER, ("user", "Ho")], "ai21": [("user", "Hi\n\nHo")]},
        system="Greet.",
    ),
    Row(
        "alternation",
        [user("a"), user("b"), assistant("c"), assistant("d"), user("e")],
        [("user", "a", "b"), ("assistant", "c", "d"), ("user", "e")],
        {
            "cohere": [("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d"), ("user", "e")],
            "ai21": [("user", "a\n\nb"), ("assistant", "c\n\nd"), ("user", "e")],
        },
    ),
]
BLANKS = [
    Row(
        "blank text beside a call",
        [user("Hi"), assistant("\n", call("a")), tool("a")],
        [USER, ("assistant", ToolCall("a", "f")), results(("a", "1"))],
        more=tools("f"),
    ),
    Row(
        "blank part beside a call",
        [user("Hi"), assistant([text(" ")], call("a")), tool("a")],
        [USER, ("assistant", ToolCall("a", "f")), results(("a", "1"))],
        more=tools("f"),
    ),
    Row(
        "blank message of the assistant",
        [user("Hi"), assistant(" \n "), user("Ho")],
        [("user", "Hi", "Ho")],
        {"cohere": [USER, ("user", "Ho")], "ai21": [("user", "Hi\n\nHo")]},
    ),
    Row("no content", [user("Hi"), assistant(None)], [USER]),
    Row("blank last message of the assistant", [user("Hi"), assistant("")], [USER]),
    Row(
        "blank message of the user before others",
        [user("\t"), assistant("Welcome."), user("Hi")],
        [("user", "."), ("assistant", "Welcome."), USER],
    ),
    Row(
        "blank last message of the user",
        [user("Hi"), assistant("Ho"), user(" ")],
        Refused("messages[2].content"),
    ),
    Row("nothing but white space", [user("\n")], Refused("messages[0].content")),
    Row("nothing but an empty answer", [assistant("")], Refused("messages")),
    Row(
        "blank parts between texts",
        [user([text("a"), text("\n"), text("b"), text("")])],
        [("user", "a\n", "b")],
        {"ai21": [("user", "a\nb")]},
    ),
    Row(
        "white space at the end of an answer to go on with",
        [user("Hi"), assistant("Once \n")],
        [USER, ("assistant", "Once")],
    ),
    Row(
        "white space elsewhere stays",
        [user(" Hi "), assistant(" a "), user("b ")],
        [("user", " Hi "), ("assistant", " a "), ("user", "b ")],
    ),
    Row(
        "blank result",
        [user("Hi"), assistant(None, call("a")), tool("a", " ")],
        [USER, ("assistant", ToolCall("a", "f")), results(("a", "(empty)"))],
        {
            "anthropic": [USER, ("assistant", ToolCall("a", "f")), results(("a", ""))],
            "vertex": [USER, ("assistant", ToolCall("a", "f")), results(("a", ""))],
        },
        more=tools("f"),
    ),
]


IMAGES = [
    Row(
        "images",
        [user([text("What?"), image(PNG)])],
        [("user", "What?", Picture("image/png"))],
        {"ai21": Refused("messages[0].content")},
    ),
    Row(
        "images by address",
        [user([image("https://a.example/b.webp"), text("What?")])],
        [("user", Picture("https://a.example/b.webp"), "What?")],
        {**for_columns(BEDROCK, Refused("messages[0].content")), "ai21": Refused("messages[0].content")},
    ),
    Row(
        "images of other types", [user([image("data:image/bmp;base64,Qk0=")])], Refused("messages[0].content")
    ),
    Row(
        "images that move",
        [user([image("data:image/gif;base64,R0lG")])],
        [("user", Picture("image/gif"))],
        {"vertex": Refused("messages[0].content"), "ai21": Refused("messages[0].content")},
    ),
    Row(
        "images of the system",
        [{"role": "system", "content": [image(PNG)]}, user("Hi")],
        Refused("messages[0].content"),
    ),
    Row(
        "images of the assistant",
        [user("Hi"), assistant([image(PNG)]), user("Ho")],
        Refused("messages[1].content"),
        {"vertex": [USER, ("assistant", Picture("image/png")), ("user", "Ho")]},
    ),
    Row(
        "images that tools give",
        [user("Hi"), assistant(None, call("a")), tool("a", [image(PNG)])],
        Refused("messages[2].content"),
        for_columns(
            ("anthropic", "bedrock-anthropic", "bedrock-amazon"),
            [USER, ("assistant", ToolCall("a", "f")), results(("a", "Picture(shown='image/png')"))],
        ),
        tools("f"),
    ),
]
ROWS = [*ROLES, *BLANKS, *IMAGES]


def test_the_table_has_a_column_for_each_wire_format():
    own = {
        provider.name
        for provider in PROVIDERS.values()
        if any(wire_format.translate_response is not None for wire_format in provider.wire_formats.values())
    }
    makers = next(
        each for each in PROVIDERS["amazon-bedrock"].config.fields() if each.name == "bedrock_provider"
    )
    assert {each.provider.name for each in COLUMNS} == own
    assert {f"bedrock-{maker}" for maker, _label in makers.choices} == set(BEDROCK)
    for row in ROWS:
        assert row.exceptions.keys() <= {each.name for each in COLUMNS}


@pytest.mark.parametrize("column", COLUMNS, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_vendor_is_sent_what_its_cell_says(row: Row, column: Column):
    assert_cell(row, column)


STOPS: dict[str, tuple[list[str], list[str] | Refused, dict[str, list[str] | Refused]]] = {
    "usual ones": (["END", "\nQ:"], ["END", "\nQ:"], {}),
    "empty ones stop nothing": (["", "END", ""], ["END"], {}),
    "nothing but empty ones": ([""], [], {}),
    "white space": (
        ["\n"],
        ["\n"],
        dict.fromkeys(("anthropic", "bedrock-anthropic"), Refused("stop cannot be passed on")),
    ),
    "five": (list("abcde"), list("abcde"), {}),
    "six": (list("abcdef"), list("abcdef"), {"cohere": Refused("at most 5 texts")}),
    "seventeen": (
        [f"end {n}" for n in range(17)],
        [f"end {n}" for n in range(17)],
        {"cohere": Refused("at most 5 texts"), "vertex": Refused("at most 16 texts")},
    ),
}


@pytest.mark.parametrize("column", COLUMNS, ids=str)
@pytest.mark.parametrize("rule", STOPS)
@pytest.mark.parametrize("task", [Task.CHAT, Task.COMPLETIONS], ids=["chat", "completions"])
def test_stop_sequences_are_adapted_to_each_vendor(rule: str, column: Column, task: Task):
    stop, cell, exceptions = STOPS[rule]
    expected = exceptions.get(column.name, cell)
    request_body: dict[str, Any] = {"messages": [user("Hi")]} if task is Task.CHAT else {"prompt": "Hi"}
    for model in (column.chat,) if task is Task.CHAT else column.completions:
        if isinstance(expected, Refused):
            with pytest.raises(UnsupportedRequest, match=expected.words):
                column.sent({**request_body, "stop": stop}, task=task, model=model)
        else:
            assert stops_of(column.sent({**request_body, "stop": stop}, task=task, model=model)) == expected


def stops_of(body: dict[str, Any]) -> list[str]:
    holders = (body, body.get("inferenceConfig") or {}, body.get("generationConfig") or {})
    names = ("stop", "stop_sequences", "stopSequences", "end_sequences")
    found: list[str] = next((holder[name] for holder in holders for name in names if name in holder), [])
    return found


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_a_blank_prompt_is_refused_by_name(column: Column):
    for model in column.completions:
        for prompt in ("", " ", "\n\n"):
            with pytest.raises(UnsupportedRequest, match="prompt"):
                column.sent({"prompt": prompt}, task=Task.COMPLETIONS, model=model)


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_a_prompt_becomes_a_user_message(column: Column):
    for model in column.completions:
        body = column.sent({"prompt": " Once \n"}, task=Task.COMPLETIONS, model=model)
        if "prompt" in body:
            assert " Once \n" in body["prompt"]
        else:
            assert parse_vendor_request(column.provider.name, body).turns == [("user", " Once \n")]
