"""A browser, the running product, and people who are signed in to it.

The browser lives as long as a module: its event loop must be gone when tests of other folders touch Django's rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.product import Product, running_product
from tests.browser.watch import Watch
from tests.support.sandbox import SandboxServer, running_sandbox

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECONDS = 15
OWNER = "owner@example.com"
Cookies = list[dict[str, str]]
OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with running_product(tmp_path_factory.mktemp("product")) as product:
        yield product


@pytest.fixture(scope="session")
def cookies(product: Product) -> Cookies:
    """The owner's session, in a browser's form."""
    session = requests.Session()
    link = product.url + product.command("sign_in_link", OWNER)
    assert session.get(link, timeout=10).status_code == 200
    return [{"name": each.name, "value": each.value or "", "url": product.url} for each in session.cookies]


@pytest.fixture(scope="session")
def token(product: Product) -> str:
    """The owner's bearer token."""
    return product.command("create_token", OWNER)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("Debian's chromium is missing. Install it: apt-get install chromium")
    with sync_playwright() as playwright:
        expect.set_options(timeout=SECONDS * 1000)
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def upstream() -> Iterator[SandboxServer]:
    """The provider: a sandbox of the test's own, that it holds, releases and breaks."""
    with running_sandbox() as sandbox:
        yield sandbox
        sandbox.reset()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """What the test's pages complain of, and at the end none may have."""
    watch = Watch()
    yield watch
    assert watch.complaints == []


@pytest.fixture
def open_page(chromium: Browser, product: Product, cookies: Cookies, watch: Watch) -> Iterator[OpenPage]:
    """Opens a page in a browser of its own, by default with the owner signed in."""
    contexts = []

    def open_page(path: str = "", *, signed_in: bool = True, **options: Any) -> Page:
        context = chromium.new_context(base_url=product.url, **options)
        context.set_default_timeout(SECONDS * 1000)
        contexts.append(context)
        if signed_in:
            context.add_cookies(cookies)  # type: ignore[arg-type]
        context.on("page", watch.follow)
        page = context.new_page()
        if path:
            page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
