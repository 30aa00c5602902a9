"""Rules of the design: contrast of the colours, size of the first load, colours from tokens only, icons that exist."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import django_htmx
import pytest
from django.conf import settings
from django.test import Client

from tests.pages.conftest import CREATE, openai

STATIC = Path(settings.BASE_DIR) / "static"
TEMPLATES = Path(settings.BASE_DIR) / "templates"
TOKENS = (STATIC / "css/tokens.css").read_text()
LIGHT, DARK = TOKENS.split("@media (prefers-color-scheme: dark)")
PAIRS = [
    *(
        (ink, ground)
        for ink in ("ink", "ink-2", "ink-3", "link")
        for ground in ("page", "chrome", "raised", "hover")
    ),
    ("on-primary", "primary"),
    ("on-primary", "primary-hover"),
    ("tint-ink", "tint"),
    ("nav-current-ink", "nav-current"),
    *((tone, ground) for tone in ("good", "busy", "bad", "still") for ground in ("page", "chrome", "hover")),
    *((tone, f"{tone}-tint") for tone in ("good", "busy", "bad", "still")),
    *(("ink", f"{tone}-tint") for tone in ("good", "busy", "bad", "still")),
]


def colours(text: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): #([0-9a-f]{6});", text))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [colours(LIGHT), colours(LIGHT) | colours(DARK)], ids=["light", "dark"])
def test_text_has_the_contrast_of_level_aa(theme):
    poor = {}
    for ink, ground in PAIRS:
        lighter, darker = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
        ratio = (lighter + 0.05) / (darker + 0.05)
        if ratio < 4.5:
            poor[ink, ground] = round(ratio, 2)
    assert not poor


def test_style_sheets_use_only_the_colours_of_the_tokens():
    for sheet in ("base", "layout", "components"):
        text = (STATIC / f"css/{sheet}.css").read_text()
        assert not re.findall(
            r"#[0-9a-fA-F]{3,8}\b(?![\w-]*\s*[,{:.\[>])", re.sub(r"#[a-z-]+[^;{]*\{", "", text)
        ), sheet
        used = set(re.findall(r"var\(--([\w-]+)\)", text))
        assert used <= set(re.findall(r"--([\w-]+):", TOKENS)), sheet


@pytest.mark.parametrize("address", ["/ml/endpoints", CREATE, "/ml/endpoints/chat"])
def test_a_first_load_is_under_100_kilobytes(browser: Client, ready, address):
    page = browser.post(CREATE, openai(_redraw="1")) if address == CREATE else browser.get(address)
    htmx = Path(django_htmx.__file__).parent / "static/django_htmx/htmx-2.min.js"
    files = [*STATIC.glob("css/*.css"), STATIC / "app.js", STATIC / "icons.svg", STATIC / "favicon.svg", htmx]
    # WhiteNoise compresses static files; the page itself is sent uncompressed.
    assert len(page.content) + sum(len(gzip.compress(file.read_bytes())) for file in files) < 60_000


def test_the_icons_are_those_that_are_used():
    drawn = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))
    source = [*TEMPLATES.rglob("*.html"), *(Path(settings.BASE_DIR) / "serving_ui/pages").rglob("*.py")]
    text = "\n".join(path.read_text() for path in source)
    named = re.findall(r'(?:{% icon |icon_name=)"([\w-]+)"', text)
    used = {*named, "check", "ring", "cross", "stop"}
    assert used == drawn


def test_the_script_is_small():
    assert len((STATIC / "app.js").read_text().splitlines()) < 280
