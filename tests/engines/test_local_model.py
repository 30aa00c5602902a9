"""The language model of `up --local-model`: installed, started, listed as a foundation model, queried, watched."""

from __future__ import annotations

import re
from collections.abc import Iterator

import openai
import pytest
import requests

from tests.support.product import Product
from tests.support.waiting import command_line, wait_until

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
ENDPOINT = "system-local-smollm2"
PROGRAM = "serving_ui.local_model.server"
QUESTIONS = {
    "What is the capital of France?": "Paris",
    "What is the capital of Germany?": "Berlin",
    "What is the capital of Italy?": "Rome",
    "What is the capital of Japan?": "Tokyo",
    "What color is the sky on a clear day?": "blue",
    "How many days are in a week?": "seven|7",
    "Who wrote Romeo and Juliet?": "Shakespeare",
    "Which language is spoken in Brazil?": "Portuguese",
    "On which continent is Egypt?": "Africa",
    "Which ocean is the largest?": "Pacific",
}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("local")).up("--local-model") as started:
        yield started


@pytest.fixture(scope="module")
def client(product: Product) -> Iterator[openai.OpenAI]:
    token = product.command("create_token", "a@example.com")
    with openai.OpenAI(base_url=f"{product.url}/serving-endpoints", api_key=token, max_retries=0) as opened:
        wait_until(lambda: answers(opened), what="the first answer", seconds=90)
        yield opened


def answers(client: openai.OpenAI) -> bool:
    try:
        return bool(send(client, "Say hello."))
    except openai.APIStatusError:
        return False


def send(client: openai.OpenAI, text: str) -> str:
    reply = client.chat.completions.create(
        model=ENDPOINT, messages=[{"role": "user", "content": text}], temperature=0, max_tokens=48
    )
    return reply.choices[0].message.content or ""


@pytest.mark.smoke
def test_ten_plain_questions_are_answered(client: openai.OpenAI):
    replies = {text: send(client, text) for text in QUESTIONS}
    wrong = {
        reply: replies[reply] for reply, words in QUESTIONS.items() if not re.search(words, replies[reply])
    }
    assert wrong == {}


def test_a_stream_has_its_usage(client: openai.OpenAI):
    chunks = list(
        client.chat.completions.create(
            model=ENDPOINT,
            messages=[{"role": "user", "content": "Count to three."}],
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert len(chunks) > 2
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens > 0


def test_its_server_wants_a_key_allows_no_other_origin_and_listens_on_loopback(
    product: Product, client: openai.OpenAI
):
    words = command_line(product.process(PROGRAM)).split()
    port = words[words.index("--port") + 1]
    path = f":{port}/v1/chat/completions"
    refused = requests.post(
        f"http://127.0.0.1{path}", json={"messages": []}, headers={"Origin": "http://a.example"}, timeout=60
    )
    assert refused.status_code == 401
    assert refused.headers.get("Access-Control-Allow-Origin", "") == ""
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.2{path}", timeout=60)
    key = (product.data / "local-model" / "smollm2.key").read_text()
    assert key not in " ".join(words)


def test_it_is_back_after_it_was_killed(product: Product, client: openai.OpenAI):
    killed = product.kill(PROGRAM)
    product.wait_for_replacement(PROGRAM, killed)
    wait_until(lambda: answers(client), what="an answer", seconds=90)
