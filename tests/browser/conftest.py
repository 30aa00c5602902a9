"""A browser, the running product, and people who are signed in to it.

The browser lives as long as a module: Django refuses to use the database in a thread with a running event loop, and tests of other
folders use it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.form_client import FormClient
from tests.browser.page_monitor import PageMonitor
from tests.browser.product import Product, running_product
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
SECONDS = 60
OWNER = "owner@example.com"
Cookies = list[dict[str, str]]
OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with running_product(tmp_path_factory.mktemp("product")) as product:
        yield product


@pytest.fixture(scope="session")
def owner(product: Product) -> FormClient:
    """The owner of the endpoints of these tests, who is not an admin."""
    return FormClient(product.url, product.command("sign_in_link", OWNER))


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
    """The provider: a sandbox of the test's own, in which it holds replies and sets faults."""
    with running_sandbox() as sandbox:
        yield sandbox
        sandbox.reset()


@pytest.fixture
def monitor() -> Iterator[PageMonitor]:
    """Collects the errors of all pages that the test opens. At the end there must be none."""
    monitor = PageMonitor()
    yield monitor
    assert monitor.errors == []


@pytest.fixture
def open_page(chromium: Browser, owner: FormClient, monitor: PageMonitor) -> Iterator[OpenPage]:
    """Opens a page in a browser context of its own, with the owner's session or the given cookies."""
    contexts = []

    def open_page(path: str = "", *, cookies: Cookies | None = None, **options: Any) -> Page:
        context = chromium.new_context(base_url=owner.url, **options)
        context.set_default_timeout(SECONDS * 1000)
        contexts.append(context)
        context.add_cookies(owner.cookies if cookies is None else cookies)  # type: ignore[arg-type]
        context.on("page", monitor.follow)
        page = context.new_page()
        if path:
            page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
