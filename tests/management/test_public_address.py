"""The first sign-in link and the addresses on pages lead to a host that the server accepts."""

from __future__ import annotations

import re
from http.client import HTTPConnection
from typing import Any

import pytest

from serving_ui.management.commands import up
from serving_ui.server.address import ListenAddress
from tests.support.product import Product
from tests.support.waiting import wait_until

LOCAL = ["localhost", "127.0.0.1", "[::1]"]


@pytest.mark.parametrize(
    ("host", "public", "allowed", "address"),
    [
        ("127.0.0.1", "", LOCAL, "http://127.0.0.1:81"),
        ("127.0.0.1", "https://x.example", ["x.example"], "https://x.example"),
        ("127.0.0.1", "http://x.example:8443", [*LOCAL, "x.example"], "http://x.example:8443"),
        ("127.0.0.1", "", ["x.example"], "http://x.example:81"),
        ("0.0.0.0", "", [".x.example", "y.example"], "http://x.example:81"),
        ("0.0.0.0", "", [*LOCAL, "0.0.0.0"], "http://0.0.0.0:81"),
        ("::1", "", LOCAL, "http://[::1]:81"),
    ],
)
@pytest.mark.django_db
def test_the_first_link_leads_to_an_allowed_host(
    settings: Any, host: str, public: str, allowed: list[str], address: str
):
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = public, allowed
    ready, link = up._ready_text(ListenAddress(host=host, port=81)).splitlines()
    local = f"[{host}]" if ":" in host else host
    assert (
        ready == f"Serving page ready at http://{local}:81/"
    )  # the address where it listens: other programs parse this line
    assert re.search(r": (\S+)/welcome/\S+$", link)
    assert re.search(r": (\S+)/welcome/\S+$", link)[1] == address  # type: ignore[index]


@pytest.mark.slow
def test_up_behind_a_proxy_prints_the_public_link_and_answers_its_host(tmp_path):
    product = Product(
        tmp_path,
        SERVING_UI_PUBLIC_URL="https://serving.example.com",
        SERVING_UI_ALLOWED_HOSTS="serving.example.com",
        SERVING_UI_BEHIND_PROXY="1",
    )
    with product.up() as started:
        wait_until(lambda: "/welcome/" in started.program.text, what="the link")
        link = re.search(r"https://serving\.example\.com(/welcome/\S+)", started.program.text)
        assert link
        connection = HTTPConnection("127.0.0.1", product.port, timeout=60)
        headers = {"Host": "serving.example.com", "X-Forwarded-Proto": "https"}
        connection.request("GET", link[1], headers=headers)
        assert connection.getresponse().status in {200, 303}
        connection.close()
