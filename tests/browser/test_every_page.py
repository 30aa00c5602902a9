"""Every page in every state: no errors, a small first load, accessible in light and dark, and no wider than the screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.architecture.sources import ROOT
from tests.browser import scenes
from tests.browser.conftest import OpenPage
from tests.browser.form_client import FormClient
from tests.browser.page_monitor import PageMonitor
from tests.browser.product import Product
from tests.browser.scenes import SCENES, Scene

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHOTS = ROOT / "artefacts" / "pages"
MOST_BYTES = 100_000
WIDTHS = WIDE, TABLET, NARROW = 1280, 768, 320  # 320 is also 1280 at a zoom of 400 % (WCAG 1.4.10)
HEIGHT = 800
THEMES = ("light", "dark")
RULES_OF_WIDTH = {"runOnly": ["scrollable-region-focusable"]}
by_name = pytest.mark.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])


@pytest.fixture(scope="module")
def people(product: Product, owner: FormClient) -> Iterator[dict[str, Any]]:
    """The cookies of the owner of all that is shown, of a newcomer without endpoints, of an admin, and of a stranger without a session."""
    newcomer = FormClient(product.url, product.command("sign_in_link", "newcomer@example.com"))
    link = product.command("sign_in_link", "newcomer@example.com").removeprefix("/welcome/")
    admin_token = product.command("create_token", "root@example.com", "--admin")
    admin = FormClient(product.url, product.command("sign_in_link", "root@example.com"))
    with scenes.scene_objects(owner, newcomer, admin_token=admin_token):
        yield {
            "owner": owner.cookies,
            "newcomer": newcomer.cookies,
            "admin": admin.cookies,
            "stranger": [],
            "link": link,
        }


@pytest.fixture
def page_of(open_page: OpenPage, people: dict[str, Any], monitor: PageMonitor) -> Any:
    """Opens a page as the person of a scene, whose status is expected."""

    def page_of(scene: Scene) -> Page:
        monitor.expect_status(scene.status)
        return open_page(cookies=people[scene.who], viewport={"width": WIDE, "height": HEIGHT})

    return page_of


@pytest.fixture
def address(scene: Scene, people: dict[str, Any]) -> str:
    """The address of the scene."""
    return scene.path.format(link=people["link"])


@by_name
def test_the_first_load_is_smaller_than_100_kb(scene: Scene, page_of: Any, address: str) -> None:
    page = page_of(scene)
    loaded: list[float] = []
    wire = page.context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    page.goto(address, wait_until="load")
    assert 0 < sum(loaded) < MOST_BYTES, sorted(loaded)


@by_name
def test_the_page_is_accessible_and_fits_every_width(scene: Scene, page_of: Any, address: str) -> None:
    """All rules of axe at the widest and the narrowest width, one in light and the other in dark, by turns from scene to scene."""
    page = page_of(scene)
    page.goto(address)
    scene.act(page)
    found = []
    for place, width in enumerate(WIDTHS):
        theme = THEMES[(SCENES.index(scene) + place // 2) % 2]
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        problems = [*serious(page, **(RULES_OF_WIDTH if width == TABLET else {})), *wider_than_the_page(page)]
        problems += cut_off_tables(page) if width == WIDE else []
        found += [f"{width} px, {theme}: {each}" for each in problems]
        save_screenshot(page, f"{scene.name}-{width}-{theme}")
    assert found == []


def save_screenshot(page: Page, name: str) -> None:
    """Saves a screenshot for people, in a folder that git ignores."""
    Path(SHOTS).mkdir(parents=True, exist_ok=True)
    width, height = page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
    page.set_viewport_size({"width": width, "height": height})  # so that a sticky footer is at the end
    page.screenshot(path=SHOTS / f"{name}.png", animations="disabled")


def serious(page: Page, **options: Any) -> list[str]:
    """The serious and critical violations that axe-core finds, of all rules unless `options` names some."""
    violations = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for each in violations
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def wider_than_the_page(page: Page) -> list[str]:
    """The elements that make the page scroll horizontally."""
    wide = page.evaluate(
        """() => document.documentElement.scrollWidth <= innerWidth ? [] :
          [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
            .map((each) => each.outerHTML.slice(0, 120))"""
    )
    return [f"wider than the screen: {html}" for html in wide]


def cut_off_tables(page: Page) -> list[str]:
    """The tables that are wider than their container at 1280 px."""
    cut = page.evaluate(
        """() => [...document.querySelectorAll(".scroll")].filter((each) => each.scrollWidth > each.clientWidth)
          .map((each) => `${each.scrollWidth} > ${each.clientWidth}: ${each.innerText.slice(0, 80)}`)"""
    )
    return [f"cut off: {words}" for words in cut]
