"""An agent with the openai SDK changes the vendor within a conversation: names of MCP tools and ids of earlier calls are translated."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion

from serving_ui.catalogue.tasks import Task
from tests.catalogue.wire.test_tool_calls import WIRES, called
from tests.gateway.conftest import GatewayServer
from tests.gateway.wire.test_any_bytes import framed
from tests.gateway.wire.test_recordings import add_endpoint
from tests.support.recordings import WITH_STREAM
from tests.support.rule_columns import COLUMNS
from tests.support.rule_table import assistant, call, tool, tools, user
from tests.support.vendor import Answer, Vendor
from tests.support.vendor_requests import ToolCall, parse_vendor_request

TOOL = "mcp.files/read:now"
HISTORY = [
    user("Hi"),
    assistant("\n", call("functions.get:0", TOOL, arguments="")),
    tool("functions.get:0", ""),
]
CHAT = {each.provider.name: each for each in WITH_STREAM if each.task is Task.CHAT}


@pytest.fixture
def client(gateway: GatewayServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/serving-endpoints", api_key="token-owner", max_retries=0)


def complete_chat(client: openai.OpenAI, provider: str, messages: list[Any]) -> ChatCompletion:
    state = ChatCompletionStreamState()
    choice: Any = {"type": "function", "function": {"name": TOOL}}
    if provider in ("ai21labs", "cohere"):
        choice = "auto"  # these vendors cannot be forced to call one of two tools
    tools_parameter: Any = tools("other", TOOL)["tools"]
    for chunk in client.chat.completions.create(
        model="vendor", messages=messages, tools=tools_parameter, tool_choice=choice, stream=True
    ):
        state.handle_chunk(chunk)
    return state.get_final_completion()


@pytest.mark.parametrize("provider", WIRES)
def test_an_agent_continues_its_tool_calls_at_another_vendor(
    gateway: GatewayServer, vendor: Vendor, client: openai.OpenAI, provider: str
):
    """Two requests, the second with the first answer's tool call in the history. The vendor refuses what the real one refuses."""
    recorded = CHAT[provider]
    add_endpoint(gateway, vendor, recorded)
    column = next(each for each in COLUMNS if each.provider.name == provider)
    events = WIRES[provider][1](called(column, TOOL), [])
    content = b"".join(framed(recorded, event.name, event.data) for event in events)
    kind = {"Content-Type": recorded.content_type}
    vendor.set_answers(Answer(200, kind, (content,)), at=recorded.request["path"].partition("?")[0])
    calls = complete_chat(client, provider, HISTORY).choices[0].message.tool_calls
    assert calls is not None and len(calls) == 1
    made: Any = calls[0]
    assert (made.function.name, made.function.arguments) == (TOOL, "{}")
    again = [*HISTORY, {"role": "assistant", "tool_calls": [made.to_dict()]}, tool(made.id, "3")]
    assert complete_chat(client, provider, again).choices[0].finish_reason == "tool_calls"
    first, second = (
        parse_vendor_request(provider, each.json) for each in vendor.requests if each.path != "/token"
    )
    known = [item for turn in second.turns for item in turn if isinstance(item, ToolCall)]
    assert [each.name for each in known] == [second.tools[1]] * 2
    assert second.turns[: len(first.turns)] == first.turns
