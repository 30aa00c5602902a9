"""The table of the vendors' rules about tools: ids, names, arguments, results, and conversations that used tools but declare none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rule_columns import COLUMNS, Column, substitute
from tests.support.rule_table import (
    BEDROCK,
    NO_TEXT_BESIDE_TOOLS,
    USER,
    Cell,
    Refused,
    Row,
    assert_cell,
    assistant,
    call,
    for_columns,
    results,
    tool,
    tools,
    user,
)
from tests.support.vendor_requests import ToolCall

LONG = "a" * 100
MCP = "mcp.files/read:now"
MCP_FITTED = substitute("mcp_files_read_now", MCP)
MCP_AT_GOOGLE = substitute("mcp.files_read_now", MCP)
DASHED = "read-file"


def turns_with_ids(*ids: str, other: tuple[str, ...], name: str = "f") -> tuple[Cell, dict[str, Cell]]:
    """The turns of calls and results with these ids, and with the `other` ids for vendors that accept any text."""

    def turns(listed: tuple[str, ...]) -> Cell:
        calls = ("assistant", *(ToolCall(each, name) for each in listed))
        return [USER, calls, results(*((each, str(n)) for n, each in enumerate(listed)))]

    return turns(ids), {"cohere": turns(other), "ai21": turns(other)}


def call_messages(*ids: Any, answered: tuple[Any, ...] | None = None) -> list[dict[str, Any]]:
    return [
        user("Hi"),
        assistant(None, *(call(each) for each in ids)),
        *(tool(each, str(n)) for n, each in enumerate(ids if answered is None else answered)),
    ]


KIMIS = substitute("functions_get_0", "functions.get:0")
IDS = [
    Row(
        "ids of another vendor",
        call_messages("functions.get:0"),
        *turns_with_ids(KIMIS, other=("functions.get:0",)),
        tools("f"),
    ),
    Row(
        "ids that differ in what is not taken",
        call_messages("a.b", "a:b", "a_b"),
        *turns_with_ids(
            substitute("a_b", "a.b"), substitute("a_b", "a:b"), "a_b", other=("a.b", "a:b", "a_b")
        ),
        tools("f"),
    ),
    Row(
        "long ids",
        call_messages(LONG),
        *turns_with_ids(substitute("a" * 49, LONG), other=(LONG,)),
        tools("f"),
    ),
    Row(
        "an id that looks fitted",
        call_messages(KIMIS),
        *turns_with_ids(substitute(KIMIS[:49], KIMIS), other=(substitute(KIMIS, KIMIS),)),
        tools("f"),
    ),
    Row(
        "empty ids",
        call_messages("", ""),
        *turns_with_ids("call", "call-2", other=("call", "call-2")),
        tools("f"),
    ),
    Row("no ids", call_messages(None), *turns_with_ids("call", other=("call",)), tools("f")),
    Row(
        "null for an id",
        [user("Hi"), assistant(None, {**call(""), "id": None}), tool("", "0")],
        *turns_with_ids("call", other=("call",)),
        tools("f"),
    ),
    Row(
        "ids of other scripts",
        call_messages("呼び出し"),
        *turns_with_ids(substitute("____", "呼び出し"), other=(substitute("____", "呼び出し"),)),
        tools("f"),
    ),
    Row(
        "an id twice in a turn",
        call_messages("a", "a"),
        *turns_with_ids("a", "a-2", other=("a", "a-2")),
        tools("f"),
    ),
    Row(
        "an id twice in a conversation",
        [*call_messages("a"), *call_messages("a")[1:]],
        [
            USER,
            *[
                turn
                for each in ("a", "a-2")
                for turn in (("assistant", ToolCall(each, "f")), results((each, "0")))
            ],
        ],
        more=tools("f"),
    ),
    Row("a result of no call", [user("Hi"), tool("x")], Refused("messages[1].tool_call_id"), more=tools("f")),
    Row(
        "two results of one call",
        call_messages("a", answered=("a", "a")),
        Refused("messages[3].tool_call_id"),
        more=tools("f"),
    ),
    Row(
        "a call without a result",
        [*call_messages("a", answered=()), user("Well?")],
        Refused("messages[1].tool_calls"),
        more=tools("f"),
    ),
    Row(
        "a call without a result, before another",
        [*call_messages("a", answered=()), assistant("x"), user("y")],
        Refused("messages[1].tool_calls"),
        more=tools("f"),
    ),
    Row(
        "results in another order",
        call_messages("a", "b", answered=("b", "a")),
        [USER, ("assistant", ToolCall("a", "f"), ToolCall("b", "f")), results(("b", "0"), ("a", "1"))],
        {
            "vertex": [
                USER,
                ("assistant", ToolCall("a", "f"), ToolCall("b", "f")),
                results(("a", "1"), ("b", "0")),
            ]
        },
        tools("f"),
    ),
    Row(
        "a result after what the user adds",
        [user("Hi"), assistant(None, call("a")), user("Quick!"), tool("a")],
        [USER, ("assistant", ToolCall("a", "f")), results(("a", "1")), ("user", "Quick!")],
        for_columns(
            NO_TEXT_BESIDE_TOOLS,
            [
                USER,
                ("assistant", ToolCall("a", "f")),
                results(("a", "1")),
                ("assistant", "."),
                ("user", "Quick!"),
            ],
        ),
        tools("f"),
    ),
    Row(
        "text beside calls and results",
        [user("Hi"), assistant("Wait.", call("a")), tool("a"), user("Well?")],
        [USER, ("assistant", "Wait.", ToolCall("a", "f")), results(("a", "1")), ("user", "Well?")],
        for_columns(
            NO_TEXT_BESIDE_TOOLS,
            [
                USER,
                ("assistant", "Wait."),
                ("user", "."),
                ("assistant", ToolCall("a", "f")),
                results(("a", "1")),
                ("assistant", "."),
                ("user", "Well?"),
            ],
        ),
        tools("f"),
    ),
]


def named(name: str) -> Cell:
    return [USER, ("assistant", ToolCall("a", name)), results(("a", "1"))]


def forced(name: str) -> dict[str, Any]:
    return {**tools(name), "tool_choice": {"type": "function", "function": {"name": name}}}


def calling(name: str) -> list[dict[str, Any]]:
    return [user("Hi"), assistant(None, call("a", name)), tool("a")]


AI21_FORCES_NONE = {"ai21": Refused("tool_choice")}
NAMES = [
    Row(
        "names of MCP, and forced by name",
        calling(MCP),
        named(MCP_FITTED),
        {"vertex": named(MCP_AT_GOOGLE), **AI21_FORCES_NONE},
        forced(MCP),
        tools={"": [MCP_FITTED], "vertex": [MCP_AT_GOOGLE]},
        choice={"": MCP_FITTED, "vertex": MCP_AT_GOOGLE, "cohere": "any"},
    ),
    Row(
        "names of other scripts",
        calling("天気"),
        named(substitute("__", "天気")),
        more=tools("天気"),
        tools={"": [substitute("__", "天気")]},
    ),
    Row(
        "long names",
        calling(LONG),
        named(substitute("a" * 49, LONG)),
        more=tools(LONG),
        tools={"": [substitute("a" * 49, LONG)]},
    ),
    Row(
        "names with dashes",
        calling(DASHED),
        named(DASHED),
        {"cohere": named(substitute("read_file", DASHED))},
        tools(DASHED),
        tools={"": [DASHED], "cohere": [substitute("read_file", DASHED)]},
    ),
    Row(
        "names that begin with a digit",
        calling("1st"),
        named("1st"),
        {"cohere": named(substitute("_1st", "1st")), "vertex": named(substitute("_1st", "1st"))},
        tools("1st"),
    ),
]

AS_TEXT: Cell = [
    USER,
    ("assistant", "Wait.", '\n[Called the tool mcp.files/read:now with {"a": 1}]'),
    ("user", "[The tool mcp.files/read:now answered:]\n", "rain", "Sum it up."),
]
HISTORY = [
    user("Hi"),
    assistant("Wait.", call("a:1", MCP, arguments='{"a": 1}')),
    tool("a:1", "rain"),
    user("Sum it up."),
]
IN_WORDS = {
    **for_columns(BEDROCK, AS_TEXT),
    "cohere": [
        USER,
        ("assistant", 'Wait.\n[Called the tool mcp.files/read:now with {"a": 1}]'),
        ("user", "[The tool mcp.files/read:now answered:]\nrain"),
        ("user", "Sum it up."),
    ],
    "ai21": [
        USER,
        ("assistant", 'Wait.\n[Called the tool mcp.files/read:now with {"a": 1}]'),
        ("user", "[The tool mcp.files/read:now answered:]\nrain\n\nSum it up."),
    ],
}


def as_it_was(name: str, call_id: str) -> Cell:
    called = ToolCall(call_id, name, '{"a": 1}')
    return [USER, ("assistant", "Wait.", called), results((call_id, "rain")), ("user", "Sum it up.")]


A1 = substitute("a_1", "a:1")
NO_TOOLS = [
    Row(
        "history without tools",
        HISTORY,
        as_it_was(MCP_FITTED, A1),
        {**IN_WORDS, "vertex": as_it_was(MCP_AT_GOOGLE, "")},
        tools={"": [], "anthropic": [MCP_FITTED]},
        choice={"": "", "anthropic": "none"},
    ),
    Row(
        "history whose tools are forbidden",
        HISTORY,
        as_it_was(MCP_FITTED, A1),
        {**IN_WORDS, "vertex": as_it_was(MCP_AT_GOOGLE, ""), "cohere": as_it_was(MCP_FITTED, "a:1")},
        {**tools(MCP), "tool_choice": "none"},
        tools={"": [], "anthropic": [MCP_FITTED], "vertex": [MCP_AT_GOOGLE], "cohere": [MCP_FITTED]},
        choice={"": "", "anthropic": "none", "vertex": "none", "cohere": "none"},
    ),
    Row(
        "history that lost its calls",
        [tool("x", "rain"), user("Sum it up.")],
        Refused("messages[0].tool_call_id"),
        {
            **for_columns(
                BEDROCK, [("user", "[The tool that was called answered:]\n", "rain", "Sum it up.")]
            ),
            "cohere": [("user", "[The tool that was called answered:]\nrain"), ("user", "Sum it up.")],
            "ai21": [("user", "[The tool that was called answered:]\nrain\n\nSum it up.")],
        },
    ),
]
NOTHING: list[Any] = [None, "", " ", "null", {}, "{}", "\n{ }"]


def called_with(arguments: Any) -> list[dict[str, Any]]:
    return [user("Hi"), assistant(None, call("a", arguments=arguments)), tool("a")]


def written(arguments: str) -> Cell:
    return [USER, ("assistant", ToolCall("a", "f", arguments)), results(("a", "1"))]


ARGUMENTS = [
    *(
        Row(f"no arguments: {nothing!r}", called_with(nothing), written("{}"), more=tools("f"))
        for nothing in NOTHING
    ),
    Row(
        "no arguments at all",
        [user("Hi"), assistant(None, {"id": "a", "function": {"name": "f"}}), tool("a")],
        written("{}"),
        more=tools("f"),
    ),
    Row(
        "numbers that JSON does not have",
        called_with('{"a": NaN, "b": [-Infinity, 1e400], "c": "NaN"}'),
        written('{"a": null, "b": [null, null], "c": "NaN"}'),
        dict.fromkeys(("cohere", "ai21"), written('{"a":null,"b":[null,null],"c":"NaN"}')),
        tools("f"),
    ),
    Row(
        "arguments that are no object",
        called_with("[1]"),
        Refused("messages[1].tool_calls[0].function.arguments"),
        more=tools("f"),
    ),
    Row(
        "arguments that were cut",
        called_with('{"a": '),
        Refused("messages[1].tool_calls[0].function.arguments"),
        more=tools("f"),
    ),
    Row(
        "numbers that JSON does not have, in a result",
        [user("Hi"), assistant(None, call("a")), tool("a", '{"x": NaN, "y": 1e400}')],
        [USER, ("assistant", ToolCall("a", "f")), results(("a", '{"x": NaN, "y": 1e400}'))],
        {"vertex": [USER, ("assistant", ToolCall("a", "f")), results(("a", '{"x": null, "y": null}'))]},
        tools("f"),
    ),
]
ROWS = [*IDS, *NAMES, *ARGUMENTS, *NO_TOOLS]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_vendor_is_sent_what_its_cell_says(row: Row, column: Column):
    assert_cell(row, column)


def test_an_id_is_replaced_alike_in_the_next_request():
    """No state is kept between requests, and the vendor compares a continued conversation with its cached beginning."""
    before = [*call_messages("functions.get:0", "a", "a"), *call_messages("a", "functions.get:0")[1:]]
    after = [*before, assistant("So."), user("And?"), *call_messages("a")[1:]]
    for column in COLUMNS:
        shorter, longer = (
            column.vendor_request({"messages": each, **tools("f")}).turns for each in (before, after)
        )
        assert longer[: len(shorter)] == shorter


@settings(deadline=None)
@given(st.lists(st.text(max_size=70), min_size=1, max_size=8))
def test_different_ids_and_names_stay_different(texts: list[str]):
    names = list(dict.fromkeys(texts))
    messages = [
        user("Hi"),
        assistant(None, *(call(each, names[n % len(names)]) for n, each in enumerate(texts))),
        *(tool(each, str(n)) for n, each in enumerate(texts)),
    ]
    for column in COLUMNS:
        request = column.vendor_request({"messages": messages, **tools(*names)})
        assert len(set(request.tools)) == len(names)
        calls = [item for item in request.turns[1] if isinstance(item, ToolCall)]
        assert [item.name for item in calls] == [request.tools[n % len(names)] for n in range(len(texts))]
