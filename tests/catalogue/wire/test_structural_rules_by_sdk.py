"""The same tables, checked with the types, patterns and lengths of the vendors' SDKs."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import pytest
from anthropic.types import MessageParam, TextBlockParam, ToolChoiceParam, ToolParam
from cohere.types import AssistantMessage, SystemMessageV2, ToolMessageV2, ToolV2, UserMessageV2
from google.genai import types
from pydantic import TypeAdapter

from serving_ui.catalogue.upstream import UnsupportedRequest
from tests.catalogue.wire import test_structural_rules, test_structural_rules_of_tools
from tests.support.rule_columns import COLUMNS, Column
from tests.support.rule_table import Row

ROWS = [*test_structural_rules.ROWS, *test_structural_rules_of_tools.ROWS]
SERVICE = botocore.model.ServiceModel(
    botocore.loaders.Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime"
)
COHERES: dict[str, Any] = {
    "user": UserMessageV2,
    "assistant": AssistantMessage,
    "tool": ToolMessageV2,
    "system": SystemMessageV2,
}


def cells(vendor: str) -> list[Any]:
    columns = [column for column in COLUMNS if column.name.startswith(vendor)]
    return [pytest.param(column, row, id=f"{column.name}-{row}") for column in columns for row in ROWS]


def body(column: Column, row: Row) -> dict[str, Any]:
    try:
        return column.sent({"messages": row.messages, **row.more})
    except UnsupportedRequest:
        return {}  # refused, as its cell says


def check(kind: Any, value: Any) -> None:
    """Validate the value with a type of the SDK. Iterables are validated while they are read, so read all of them."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    read_all(adapter.validate_python(value))


def read_all(value: Any) -> None:
    if isinstance(value, dict):
        read_all(list(value.values()))
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for inner in value:
            read_all(inner)


@pytest.mark.parametrize(("column", "row"), cells("anthropic"))
def test_anthropics_sdk_accepts_the_requests(column: Column, row: Row):
    sent = body(column, row)
    check(list[MessageParam], sent.get("messages", []))
    check(list[TextBlockParam] | str, sent.get("system", ""))
    check(list[ToolParam], sent.get("tools", []))
    check(ToolChoiceParam, sent.get("tool_choice", {"type": "auto"}))


@pytest.mark.parametrize(("column", "row"), cells("bedrock"))
def test_amazons_sdk_accepts_the_requests(column: Column, row: Row):
    sent = with_bytes({"modelId": column.chat, "messages": [], **body(column, row)})
    shape = SERVICE.operation_model("Converse").input_shape
    assert botocore.validate.ParamValidator().validate(sent, shape).generate_report() == ""
    assert list(pattern_violations(sent, shape)) == []


def with_bytes(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: with_bytes(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_bytes(inner) for inner in value]
    return b64decode(value) if name == "bytes" else value


def pattern_violations(value: Any, shape: Any) -> Iterator[str]:
    """Violations of patterns, lengths and enumerations, which the service checks but the SDK does not."""
    if shape.type_name == "structure" and not getattr(shape, "document", False) and isinstance(value, dict):
        for name, inner in value.items():
            if not shape.members[name].metadata.get("document"):
                yield from pattern_violations(inner, shape.members[name])
    elif shape.type_name == "list":
        for inner in value:
            yield from pattern_violations(inner, shape.member)
    elif shape.type_name == "string":
        limits = shape.metadata
        fits = limits.get("min", 0) <= len(value) <= limits.get("max", len(value))
        if (
            not fits
            or not re.fullmatch(limits.get("pattern", ".*"), value, re.DOTALL)
            or value not in limits.get("enum", [value])
        ):
            yield f"{shape.name}: {value}"


@pytest.mark.parametrize(("column", "row"), cells("vertex"))
def test_googles_sdk_accepts_the_requests(column: Column, row: Row):
    sent = body(column, row)
    for content in sent.get("contents", ()):
        types.Content.model_validate(content)
    for tool in sent.get("tools", ()):
        types.Tool.model_validate(tool)
    types.ToolConfig.model_validate(sent.get("toolConfig", {}))


@pytest.mark.parametrize(("column", "row"), cells("cohere"))
def test_coheres_sdk_accepts_the_requests(column: Column, row: Row):
    sent = body(column, row)
    for message in sent.get("messages", ()):
        COHERES[message["role"]].model_validate(
            {name: value for name, value in message.items() if name != "role"}
        )
    for tool in sent.get("tools", ()):
        check(ToolV2, tool)
