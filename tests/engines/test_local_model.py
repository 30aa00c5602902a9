"""The models on this machine: started by a click, listed as foundation models, queried, watched, stopped."""

from __future__ import annotations

import os
import re
import signal
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import requests
from playwright.sync_api import Browser, expect

from serving_ui.local_model.files import Files
from serving_ui.local_model.weights import CHAT, EMBEDDINGS
from tests.browser.conftest import chromium
from tests.support.listening import listening_beyond_loopback
from tests.support.product import Person, Product
from tests.support.waiting import command_line, is_alive, wait_until

__all__ = ["chromium"]
pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
ENDPOINT, EMBEDDINGS_ENDPOINT = f"system-local-{CHAT}", f"system-local-{EMBEDDINGS}"
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
def product(tmp_path_factory: pytest.TempPathFactory, local_model_environment: Path) -> Iterator[Product]:
    """Listens on every address, so that the outbound policy refuses loopback but for the models."""
    product = Product(tmp_path_factory.mktemp("local"))
    install(product, local_model_environment)
    (product.data / "models").mkdir()
    (product.data / "models" / "-broken.gguf").write_text("no model")
    with product.up("--local-model", "--host", "0.0.0.0") as started:
        yield started


def install(product: Product, environment: Path) -> None:
    folder = product.data / "local-model"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "environment").symlink_to(environment)


@pytest.fixture(scope="module")
def admin(product: Product) -> Iterator[Person]:
    product.command("create_token", "a@example.com", "--admin")
    with product.person("a@example.com") as person:
        yield person


@pytest.fixture(scope="module")
def client(product: Product, admin: Person) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{product.url}/serving-endpoints", api_key=admin.token, max_retries=0
    ) as opened:
        wait_until(lambda: answers(opened), what="the first answer", seconds=90)
        yield opened


def files(product: Product) -> Files:
    return Files(product.data)


def servers(product: Product) -> list[int]:
    return [each for each in product.program.descendants() if PROGRAM in command_line(each)]


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


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_texts_of_one_meaning_have_near_embeddings(
    product: Product, client: openai.OpenAI, admin: Person, encoding: str
):
    admin.wait_for_state(EMBEDDINGS_ENDPOINT, "Ready")
    texts = ["The capital of France", "フランスの首都", "How to bake bread"]
    reply = client.embeddings.create(model=EMBEDDINGS_ENDPOINT, input=texts, encoding_format=encoding)  # type: ignore[arg-type]
    if encoding == "base64":  # the client decodes it only when it chose it itself
        assert isinstance(reply.data[0].embedding, str)
        reply = client.embeddings.create(model=EMBEDDINGS_ENDPOINT, input=texts)
    first, same, other = (each.embedding for each in reply.data)
    assert len(first) == 384

    def near(one: list[float], two: list[float]) -> float:
        return sum(a * b for a, b in zip(one, two, strict=True))

    assert near(first, same) > near(first, other) + 0.05
    assert reply.usage.prompt_tokens > 0


@pytest.mark.parametrize("model", [CHAT, EMBEDDINGS])
def test_a_server_wants_its_key_and_allows_no_other_origin(
    product: Product, client: openai.OpenAI, model: str
):
    connection = files(product).connections()[model]
    origin = {"Origin": "http://a.example"}
    for path in ("models", "chat/completions", "embeddings"):
        url = f"{connection.base_url}/{path}"
        assert requests.post(url, json={}, headers=origin, timeout=60).status_code in (401, 404)
    assert requests.get(f"{connection.base_url}/models", headers=origin, timeout=60).status_code == 401
    with_key = {**origin, "Authorization": f"Bearer {connection.key}"}
    listed = requests.get(f"{connection.base_url}/models", headers=with_key, timeout=60)
    assert listed.status_code == 200
    assert listed.headers.get("Access-Control-Allow-Origin", "") == ""
    root = f"http://127.0.0.1:{connection.port}"
    for path in ("/index.html", "/slots", "/metrics"):
        assert requests.get(root + path, headers=with_key, timeout=60).status_code in (404, 501)


def test_servers_listen_on_loopback_with_bounded_memory_and_no_key_is_told(
    product: Product, client: openai.OpenAI
):
    found = servers(product)
    assert len(found) >= 2
    assert listening_beyond_loopback(found) == {}
    keys = [each.key for each in files(product).connections().values()]
    for each in found:
        told = Path(f"/proc/{each}/environ").read_text() + command_line(each)
        assert not [key for key in keys if key in told]
        assert "SERVING_UI" not in told.replace("serving_ui", "")
        limit = re.findall(r"Max data size +(\d+)", Path(f"/proc/{each}/limits").read_text())
        assert int(limit[0]) < 2 * 1024**3
    assert not [key for key in keys if key in product.program.text]


def test_a_file_that_cannot_be_read_is_explained_and_stops_nothing(product: Product, admin: Person):
    page = wait_until(
        lambda: "invalid magic" in (text := admin.get("/ml/model-hosts").text) and text, what="the reason"
    )
    assert re.search(r"broken-[0-9a-f]{6}", page)
    assert "invalid magic" in product.program.text
    assert product.is_ready()


def test_they_are_back_after_they_were_killed(product: Product, client: openai.OpenAI):
    killed, before = servers(product), files(product).connections()
    for each in killed:
        os.kill(each, signal.SIGKILL)
    wait_until(lambda: len(set(servers(product)) - set(killed)) >= 2, what="other servers")
    wait_until(lambda: answers(client), what="an answer", seconds=90)
    assert files(product).connections() == before


def test_a_click_starts_them_a_restart_keeps_them_and_a_click_stops_them(
    chromium: Browser, tmp_path: Path, local_model_environment: Path
):
    product = Product(tmp_path)
    install(product, local_model_environment)
    with product.up():
        product.command("create_token", "a@example.com", "--admin")
        page = chromium.new_page(base_url=product.url)
        page.goto(product.command("sign_in_link", "a@example.com"))
        page.get_by_role("button", name="Sign in").click()
        page.locator("#local-models-start").click()
        card = page.locator("#model-cards li", has_text=CHAT)
        expect(card).to_contain_text("Ready")
        expect(page.locator("#model-cards li", has_text=EMBEDDINGS)).to_contain_text("Ready")
        card.get_by_role("link", name="Query").click()
        expect(page).to_have_url(re.compile(urllib.parse.quote(ENDPOINT)))
        before = files(product).connections()
    with product.up():
        page.goto("/ml/model-hosts")
        wait_until(lambda: len(servers(product)) == 2, what="the servers")
        assert files(product).connections() == before
        left = servers(product)
        page.reload()
        page.locator("#local-models-stop").click()
        expect(page.locator("#local-models-start")).to_be_visible()
        expect(page.locator("#hosts")).to_contain_text("No model hosts yet")
        assert not any(map(is_alive, left))
        assert files(product).wish() == ""
    page.close()
