"""The sandbox provider by itself: canned, deterministic replies, and faults only if it was started with `--control`."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from serving_ui.sandbox.app import make_sandbox
from tests.support.asgi_server import RunningServer, serve
from tests.support.waiting import free_port, wait_until

MESSAGES: Any = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
]


@pytest.fixture(scope="module")
def plain() -> Iterator[RunningServer]:
    with serve(make_sandbox()) as running:
        yield running


@pytest.fixture
def client(plain: RunningServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{plain.url}/sandbox/v1", api_key="any", max_retries=0)


def test_the_api_is_also_served_at_the_paths_of_openai(plain: RunningServer):
    assert requests.get(f"{plain.url}/v1/models", timeout=60).json()["data"]
    assert requests.get(f"{plain.url}/v2/models", timeout=60).status_code == 404


def test_a_reply_says_that_it_is_canned_and_quotes_the_request(client: openai.OpenAI):
    reply = client.chat.completions.create(model="m", messages=MESSAGES, tools=[], n=2)
    content = reply.choices[1].message.content or ""
    assert "no model has read your text" in content
    assert content.endswith("Hi")
    assert reply == client.chat.completions.create(model="m", messages=MESSAGES, tools=[], n=2)
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_reply_is_cut_at_max_tokens(client: openai.OpenAI):
    reply = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=4)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (
        "This is a canned",
        "length",
    )


def test_a_stream_has_the_same_text_and_usage_as_a_whole_reply(client: openai.OpenAI):
    whole = client.chat.completions.create(model="m", messages=MESSAGES)
    chunks = list(
        client.chat.completions.create(
            model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_embeddings_have_the_requested_format_and_unit_length(plain: RunningServer, client: openai.OpenAI):
    (vector,) = client.embeddings.create(model="m", input="a cat", dimensions=32).data
    assert len(vector.embedding) == 32
    assert sum(number * number for number in vector.embedding) == pytest.approx(1)
    body = {"input": ["a cat"], "dimensions": 32, "encoding_format": "base64"}
    packed = requests.post(f"{plain.url}/sandbox/v1/embeddings", json=body, timeout=60).json()["data"][0][
        "embedding"
    ]
    assert struct.unpack("32f", base64.b64decode(packed)) == pytest.approx(vector.embedding)


def test_embeddings_of_texts_that_share_words_are_closer(client: openai.OpenAI):
    texts = ["the cat sat on the mat", "the cat sat on a chair", "quarterly revenue grew"]
    cat, chair, revenue = (each.embedding for each in client.embeddings.create(model="m", input=texts).data)

    def likeness(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert likeness(cat, chair) > likeness(cat, revenue) + 0.2


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("chat/completions", {}),
        ("chat/completions", {"messages": ["x"]}),
        ("chat/completions", {"messages": MESSAGES, "n": 99}),
        ("completions", {"prompt": {}}),
        ("embeddings", {"input": []}),
        ("embeddings", {"input": "a", "dimensions": 0}),
        ("embeddings", {"input": ["a"] * 5000}),
        ("embeddings", [1]),
        ("chat/completions", {"messages": [], "stream": True}),
    ],
)
def test_a_bad_request_is_400(plain: RunningServer, call: str, body: Any):
    answer = requests.post(f"{plain.url}/sandbox/v1/{call}", json=body, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith(".")


def test_the_key_sandbox_invalid_is_refused(client: openai.OpenAI):
    assert next(model.id for model in client.models.list()) == "sandbox-chat"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sandbox-invalid").models.list()


def test_without_control_no_faults_can_be_set(plain: RunningServer):
    answer = requests.post(f"{plain.url}/sandbox/control", json={"status": 500}, timeout=60)
    assert answer.status_code == 404
    assert requests.get(f"{plain.url}/sandbox/v1/models", timeout=60).status_code == 200


def test_an_unknown_fault_is_refused(sandbox: Any):
    answer = requests.post(f"{sandbox.url}/sandbox/control", json={"speed": 1}, timeout=60)
    assert answer.status_code == 400
    assert "no fault speed" in answer.json()["error"]["message"]


def test_the_command_serves_the_sandbox_and_stops_on_sigterm():
    port = free_port()
    root = Path(__file__).parents[2]
    command = [sys.executable, "manage.py", "sandbox", "--port", str(port), "--control"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/sandbox/v1/models"))
        assert answers(f"http://127.0.0.1:{port}/sandbox/control")
        process.terminate()
        process.wait(60)
    finally:
        process.kill()
        output = process.communicate()[0]
    assert f"Sandbox at http://127.0.0.1:{port}/sandbox/v1" in output
    assert "Traceback" not in output


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=60).ok
    except requests.ConnectionError:
        return False
