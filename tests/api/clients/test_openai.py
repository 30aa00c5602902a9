"""The clients of OpenAI and LangChain, and those that the Databricks SDK creates, with a token and a base URL."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from databricks.sdk import WorkspaceClient
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tests.api.clients.bodies import COMPLETIONS, EMBEDDINGS, MESSAGES, ready
from tests.api.clients.conftest import Account

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]

NAMES = {"openai-chat": "llm/v1/chat", "openai-text": COMPLETIONS, "openai-vectors": EMBEDDINGS}


@pytest.fixture(scope="module")
def base(owner: Account, secret: str) -> str:
    """The base URL of a product that has an endpoint of each task."""
    for name, task in NAMES.items():
        ready(owner.client(), name, secret, task=task)
    return f"{owner.url}/serving-endpoints"


@pytest.fixture
def client(base: str, owner: Account) -> openai.OpenAI:
    return openai.OpenAI(base_url=base, api_key=owner.token, max_retries=0)


def test_openai_chats_completes_embeds_and_lists(client: openai.OpenAI):
    reply = client.chat.completions.create(model="openai-chat", messages=MESSAGES)
    assert "Hello" in (reply.choices[0].message.content or "")
    assert client.completions.create(model="openai-text", prompt="Once").choices[0].text
    vectors = client.embeddings.create(model="openai-vectors", input=["a", "b"], dimensions=16)
    assert [len(each.embedding) for each in vectors.data] == [16, 16]
    assert set(NAMES) <= {model.id for model in client.models.list()}


def test_openai_streams(client: openai.OpenAI):
    whole = client.chat.completions.create(model="openai-chat", messages=MESSAGES)
    chunks = client.chat.completions.create(model="openai-chat", messages=MESSAGES, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content


def test_openai_raises_its_own_error_classes(client: openai.OpenAI, other: Account):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-endpoint", messages=MESSAGES)
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").chat.completions.create(model="openai-chat", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        client.with_options(api_key=other.token).models.retrieve("openai-chat")


def test_langchain_invokes_streams_and_embeds(base: str, owner: Account):
    options: Any = {"model": "openai-chat", "base_url": base, "api_key": owner.token}
    chat = ChatOpenAI(**options)
    whole = chat.invoke("Hello").content
    assert "Hello" in whole
    assert "".join(str(chunk.content) for chunk in chat.stream("Hello")) == whole
    vectors = OpenAIEmbeddings(**options | {"model": "openai-vectors", "check_embedding_ctx_length": False})
    assert len(vectors.embed_documents(["a", "b"])) == 2


def test_the_langchain_client_of_the_databricks_sdk_is_answered(workspace: WorkspaceClient, base: str):
    chat: Any = workspace.serving_endpoints.get_langchain_chat_open_ai_client("openai-chat")
    whole = chat.invoke("Hello").content
    assert "Hello" in whole
    assert "".join(str(chunk.content) for chunk in chat.stream("Hello")) == whole


def test_the_openai_client_of_the_databricks_sdk(workspace: WorkspaceClient, base: str):
    client = workspace.serving_endpoints.get_open_ai_client(max_retries=0)
    reply = client.chat.completions.create(model="openai-chat", messages=MESSAGES)
    assert "Hello" in (reply.choices[0].message.content or "")
