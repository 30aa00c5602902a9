"""Requests that pages, API and gateway all refuse (too long, NUL, bad encoding): JSON for programs, a page for browsers."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from serving_ui.lib.request import MAX_TARGET_BYTES
from tests.support.server_alone import ServerAlone
from tests.support.sign_in import sign_in
from tests.support.waiting import wait_until

LIMIT = 100_000
SETTINGS = {"SERVING_UI_CONTROL_BODY_BYTES": f"{LIMIT}", "SERVING_UI_QUERY_BODY_BYTES": f"{2 * LIMIT}"}
PROGRAMS = [
    "/api/2.0/token/create", "/api/2.0/serving-endpoints", "/api/nothing", "/serving-endpoints/chat/invocations",
    "/serving-endpoints/models", "/endpoints/chat/invocations", "/sandbox/v1/chat/completions", "/sandbox/other",
    "/.well-known/databricks-config", "/healthz", "/readyz", "/metrics",
]  # fmt: skip
PEOPLE = [
    "/",
    "/sign-in",
    "/ml/endpoints",
    "/ml/endpoints/create/fields",
    "/docs/api",
    "/static/app.js",
    "/nothing",
]
READ_BY = {
    "/api/2.0/token/create": ("CONTROL", LIMIT),
    "/sandbox/v1/chat/completions": ("QUERY", 2 * LIMIT),
    "/serving-endpoints/chat/completions": ("QUERY", 2 * LIMIT),
}
"""Paths that read a body, with the setting of their limit, and the limit."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAlone]:
    made = ServerAlone(tmp_path_factory.mktemp("refusals"), settings=SETTINGS)
    made.command("migrate", "--noinput")
    made.command("collectstatic", "--noinput")
    with made.up() as running:
        yield running


@pytest.fixture(scope="module")
def token(server: ServerAlone) -> str:
    return server.command("create_token", "somebody@example.com")


@pytest.fixture
def person(server: ServerAlone) -> Iterator[requests.Session]:
    """The session of a signed-in user."""
    with requests.Session() as session:
        sign_in(session, server.url + server.command("sign_in_link", "somebody@example.com"))
        session.headers["X-CSRFToken"] = session.cookies["serving_ui_csrf"]
        yield session


def is_refused(answer: requests.Response, *words: str, status: int) -> None:
    """Assert that the response is JSON with 400, or a page with the status, and contains the words."""
    path = answer.url.partition("://")[2].partition("/")[2].partition("?")[0]
    if f"/{path}".startswith(("/api/", "/serving-endpoints/", "/endpoints/", "/sandbox/", "/.well", "/healthz", "/readyz", "/metrics")):  # fmt: skip
        assert answer.status_code == 400, answer.text
        body = answer.json()
        sentence = body["error"]["message"] if "error" in body else body["message"]
    else:
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert '<main class="plain"' in answer.text
        assert "/static/" in answer.text
        sentence = answer.text
    for word in words:
        assert word in sentence, sentence


@pytest.mark.parametrize("path", [*PROGRAMS, *PEOPLE])
def test_a_url_that_is_too_long_is_refused(server: ServerAlone, path: str):
    room = MAX_TARGET_BYTES - len(path) - 1
    assert "too long" not in requests.get(f"{server.url}{path}?{'a' * room}", timeout=60).text
    for address in (f"{path}?{'a' * (room + 1)}", f"{path}{'a' * 60_000}", f"{path}?{'%20' * 3000}"):
        is_refused(requests.get(server.url + address, timeout=60), "longer than 8 kB", status=414)


@pytest.mark.parametrize("path", [*PROGRAMS, *PEOPLE])
def test_a_url_with_nul_is_refused(server: ServerAlone, path: str):
    for address in ("%00", "/a%00b", "?a=%00", "?a=b&%00=c", "?%00"):
        is_refused(requests.get(server.url + path + address, timeout=60), "NUL", status=400)


def chunked(content: bytes) -> Iterator[bytes]:
    yield from (content[at : at + 10_000] for at in range(0, len(content), 10_000))


@pytest.mark.parametrize("path", PEOPLE)
@pytest.mark.parametrize("send", [bytes, chunked], ids=["declared", "in parts"])
def test_a_form_that_is_too_large_is_refused(server: ServerAlone, path: str, send: Callable[[bytes], Any]):
    answer = requests.post(server.url + path, data=send(b"a=" + b"x" * LIMIT), timeout=60)
    is_refused(
        answer, "The request is too large", f"{LIMIT} bytes", "SERVING_UI_CONTROL_BODY_BYTES", status=413
    )


@pytest.mark.parametrize("path", READ_BY)
@pytest.mark.parametrize("send", [bytes, chunked], ids=["declared", "in parts"])
def test_a_body_that_is_too_large_is_refused(
    server: ServerAlone, token: str, path: str, send: Callable[[bytes], Any]
):
    setting, limit = READ_BY[path]
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.post(server.url + path, data=send(b" " * (limit + 1)), headers=headers, timeout=60)
    is_refused(answer, f"{limit} bytes", f"SERVING_UI_{setting}_BODY_BYTES", status=0)
    answer = requests.post(
        server.url + path, data=send(b" " * (limit - 2) + b"{}"), headers=headers, timeout=60
    )
    assert "BODY_BYTES" not in answer.text


def raw(content: bytes) -> bytes:
    deflating = zlib.compressobj(wbits=-15)
    return deflating.compress(content) + deflating.flush()


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw),
        ("gzip, deflate", lambda content: zlib.compress(gzip.compress(content))),
        ("identity", bytes),
    ],
)  # fmt: skip
def test_compressed_bodies_are_read_by_pages_api_and_gateway(
    server: ServerAlone, token: str, person: requests.Session, coding: str, encode: Callable[[bytes], bytes]
):
    coded, bearer = {"Content-Encoding": coding}, {"Authorization": f"Bearer {token}"}
    made = requests.post(
        f"{server.url}/api/2.0/token/create", data=encode(b'{"comment": "packed"}'), headers=coded | bearer, timeout=60
    )  # fmt: skip
    assert made.json()["token_info"]["comment"] == "packed"
    body = encode(b'{"messages": [{"role": "user", "content": "Hello"}], "model": "nothing"}')
    headers = coded | bearer | {"Content-Type": "application/json"}
    sandbox = requests.post(
        f"{server.url}/sandbox/v1/chat/completions", data=body, headers=headers, timeout=60
    )
    assert "Hello" in sandbox.json()["choices"][0]["message"]["content"]
    gateway = requests.post(
        f"{server.url}/serving-endpoints/chat/completions", data=body, headers=headers, timeout=60
    )
    assert "Endpoint nothing does not exist" in gateway.json()["message"]
    form = coded | {"Content-Type": "application/x-www-form-urlencoded"}
    sent = encode(b"comment=from+a+form&days=30")
    page = person.post(f"{server.url}/settings", data=sent, headers=form, allow_redirects=False, timeout=60)
    assert page.status_code == 303, page.text
    assert "from a form" in person.get(f"{server.url}/settings", timeout=60).text


WRONG = [
    (gzip.compress(b"{}" * 100)[:-1], "gzip", "ends too early", 400),
    (b"{}", "gzip", "cannot be read as gzip", 400),
    (b"{}", "br", "not supported", 415),
    (gzip.compress(bytes(10_000_000)), "gzip", "BODY_BYTES", 413),
]


@pytest.mark.parametrize("path", ["/sign-in", *READ_BY])
def test_wrongly_encoded_bodies_are_refused_by_pages_api_and_gateway(
    server: ServerAlone, token: str, path: str
):
    for content, coding, words, status in WRONG:
        headers = {"Authorization": f"Bearer {token}", "Content-Encoding": coding}
        answer = requests.post(server.url + path, data=content, headers=headers, timeout=60)
        is_refused(answer, words, status=status)


@pytest.mark.parametrize("path", READ_BY)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "nested deeper"),
        (b'{"messages": ' + b"[" * 10_000, "nested deeper"),
        (b'{"messages": [' + b"[]," * 30_000 + b"[]]}", "lists and objects"),
    ],
    ids=["deep", "cut", "wide"],
)
def test_deep_and_wide_json_is_refused(
    server: ServerAlone, token: str, path: str, content: bytes, words: str
):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = requests.post(server.url + path, data=content, headers=headers, timeout=60)
    is_refused(answer, words, status=0)


def test_the_page_of_a_refusal_says_what_to_do_and_keeps_the_session(
    server: ServerAlone, person: requests.Session
):
    """The page says what happened and what to do, and the session stays."""
    page = person.post(f"{server.url}/settings", data={"comment": "x" * LIMIT}, timeout=60)
    assert page.status_code == 413
    assert "Nothing was changed" in page.text
    assert 'href="/"' in page.text
    assert person.get(f"{server.url}/settings", allow_redirects=False, timeout=60).status_code == 200


def test_an_incomplete_body_is_not_written_to_disk(server: ServerAlone, tmp_path: Path):
    """Django writes a body that is larger than a setting to the temporary folder."""
    head = b"POST /sign-in HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % LIMIT
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as caller:
        caller.sendall(head + b"x" * (LIMIT - 1))
        looks_at_files(server)
        caller.sendall(b"x")
        assert b"HTTP/1.1 4" in caller.recv(1000)
        looks_at_files(server)


def looks_at_files(server: ServerAlone) -> None:
    wait_until(
        lambda: requests.get(f"{server.url}/healthz", timeout=60).ok, what="the server to read what was sent"
    )
    files = [
        str(each.readlink()) for each in Path(f"/proc/{server.process}/fd").iterdir() if each.is_symlink()
    ]
    assert not [file for file in files if "(deleted)" in file]


def test_forwarded_headers_are_used_only_behind_a_proxy(server: ServerAlone, tmp_path: Path):
    """The OpenAPI document has the server's address as the request names it."""
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1",
            "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1;proto=https;host=evil.example"}  # fmt: skip
    assert _address_in(server, forwarded) == server.url
    behind = ServerAlone(tmp_path, settings={"SERVING_UI_BEHIND_PROXY": "1"})
    behind.command("migrate", "--noinput")
    with behind.up():
        assert _address_in(behind, forwarded) == behind.url.replace("http:", "https:")
        assert _address_in(behind, {}) == behind.url


def _address_in(server: ServerAlone, forwarded: dict[str, str]) -> str:
    headers = forwarded | {
        "Authorization": f"Bearer {server.command('create_token', 'somebody@example.com')}"
    }
    answer = requests.get(f"{server.url}/api/2.0/openapi.json", headers=headers, timeout=60)
    (found,) = answer.json()["servers"]
    return str(found["url"]).rstrip("/")
