"""Requests without credentials leave nothing in caches of the product, Django or Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from serving_ui.lib.request import MAX_TARGET_BYTES
from tests.support.server_alone import ServerAlone

TIMES = 1100
MAX_KB = 8_000
"""kB that a kind of request may add. 1,100 paths of 60 kB added 360,000; the bounded caches take up to 3,000."""
WIDE = "%F0%9F%98%80"  # with one such character Python stores the text with four bytes per character

Sent = tuple[str, str, dict[str, str]]
"""Method, target and headers."""


def filler(start: str, number: int, size: int) -> str:
    """A new text of this many bytes."""
    begun = f"{start}{WIDE}{number:06}"
    return begun + "x" * (size - len(begun))


HTMX = {"HX-Request": "true", "HX-Current-URL-URI-AutoEncoded": "true"}
LONG = MAX_TARGET_BYTES - 100
ATTACKS: dict[str, Callable[[int, str], Sent]] = {
    "paths that are too long": lambda n, _: ("POST", filler("/serving-endpoints/", n, 60_000), {}),
    "pages that are too long": lambda n, _: ("GET", filler("/ml/endpoints/", n, 60_000), {}),
    "long paths": lambda n, _: ("POST", filler("/serving-endpoints/", n, LONG), {}),
    "short paths": lambda n, _: ("POST", filler("/serving-endpoints/", n, 250), {}),
    "long paths of somebody known": lambda n, token: (
        "POST", filler("/serving-endpoints/", n, LONG - 20) + "/invocations", {"Authorization": f"Bearer {token}"}),
    "short paths of somebody known": lambda n, token: (
        "POST", filler("/serving-endpoints/", n, 200) + "/invocations", {"Authorization": f"Bearer {token}"}),
    "pages": lambda n, _: ("GET", filler("/ml/endpoints/", n, LONG), {}),
    "queries": lambda n, _: ("GET", filler("/ml/endpoints?a=", n, LONG), {}),
    "addresses of the API": lambda n, _: ("GET", filler("/api/2.0/serving-endpoints/", n, LONG), {}),
    "static files": lambda n, _: ("GET", filler("/static/", n, LONG), {}),
    "tokens": lambda n, _: ("POST", "/serving-endpoints/a/invocations", {"Authorization": f"Bearer {n:06}{'x' * 50_000}"}),
    "pages that htmx was on": lambda n, _: (
        "GET", "/ml/endpoints", {**HTMX, "HX-Current-URL": filler("http://127.0.0.1/", n, LONG)}),
    "longer pages that htmx was on": lambda n, _: (
        "GET", "/ml/endpoints", {**HTMX, "HX-Current-URL": filler("http://127.0.0.1/", n, 60_000)}),
    "origins": lambda n, _: ("POST", "/sign-out", {"Origin": f"http://a/{n:06}{'x' * 60_000}"}),
    "short origins": lambda n, _: ("POST", "/sign-out", {"Origin": f"http://a/{n:06}{'x' * LONG}"}),
    "referers": lambda n, _: ("GET", f"/nothing{n}", {"Referer": f"http://a/{n:06}{'x' * 60_000}"}),
    "hosts": lambda n, _: ("GET", "/sign-in", {"Host": f"{n:06}{'x' * 60_000}"}),
    "languages": lambda n, _: ("GET", "/sign-in", {"Accept-Language": f"{n:06}{'x' * 480},en"}),
    "long languages": lambda n, _: ("GET", "/sign-in", {"Accept-Language": f"x{n:06}-{'x' * 60_000}"}),
    "cookies": lambda n, _: ("GET", "/sign-in", {"Cookie": f"django_language={n:06}{'x' * 60_000}"}),
    "sessions": lambda n, _: ("GET", "/ml/endpoints", {"Cookie": f"serving_ui_session={n:06}{'x' * 50_000}"}),
    "marks": lambda n, _: ("POST", "/sign-out", {"Cookie": f"serving_ui_csrf={n:06}{'x' * 50_000}"}),
    "kinds": lambda n, _: ("POST", "/sign-out", {"Content-Type": f"multipart/form-data; boundary={n:06}{'x' * 50_000}"}),
    "encodings": lambda n, _: ("GET", "/static/app.js", {"Accept-Encoding": f"{n:06}{'x' * 60_000}"}),
    "request ids": lambda n, _: ("POST", "/serving-endpoints/a/invocations", {"X-Request-Id": f"{n:06}{'x' * 50_000}"}),
    "header names": lambda n, _: ("GET", "/sign-in", {f"X-{n:06}{'x' * 50_000}": "a"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAlone]:
    made = ServerAlone(tmp_path_factory.mktemp("strangers"))
    made.command("migrate", "--noinput")
    made.command("collectstatic", "--noinput")
    with made.up():
        yield made


@pytest.fixture(scope="module")
def token(server: ServerAlone) -> str:
    return server.command("create_token", "somebody@example.com")


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("name", ATTACKS)
def test_requests_without_credentials_leave_nothing_in_memory(server: ServerAlone, token: str, name: str):
    """Measured after a warm-up with requests of the same kind."""
    make = ATTACKS[name]
    send(server, (make(number, token) for number in range(150)))
    before = resident_kb(server.process)
    send(server, (make(number, token) for number in range(150, 150 + TIMES)))
    assert resident_kb(server.process) - before < MAX_KB


def send(server: ServerAlone, requests: Iterator[Sent]) -> None:
    """Send requests one after another on a keep-alive connection."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    for method, target, headers in requests:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status < 500
    connection.close()


def resident_kb(process: int) -> int:
    return int(Path(f"/proc/{process}/status").read_text().partition("VmRSS:")[2].split()[0])
