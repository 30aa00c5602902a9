"""Secrets in a provider's message are redacted: in any encoding, and in part where the message was cut."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.gateway import errors
from serving_ui.gateway.errors import provider_message
from serving_ui.gateway.redaction import redact
from tests.gateway.conftest import GatewayServer, endpoint, entity
from tests.support.vendor import Answer, Vendor

SECRET = 'sk-canary/5d41+402a bc4b\\2a76"b971&9d91=é7'
PLAIN = "sk-canary-5d41402abc4b2a76b9719d911017c592"
LEAST = 6
"""From this length a common substring counts as a part of the secret."""

Spelling = Callable[[str], str]
BY_LETTER: dict[str, Spelling] = {
    "plain": str,
    "json": lambda text: json.dumps(text)[1:-1],
    "json, unescaped": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json, slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json, all": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "json, all, large": lambda text: "".join(f"\\u{ord(each):04X}" for each in text),
    "json in json": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "url": lambda text: quote(text, safe=""),
    "url, slashes": quote,
    "url, every letter": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "form": quote_plus,
    "url in json": lambda text: quote(text, safe="").replace("%", "\\u0025"),
    "html": lambda text: text.replace("&", "&amp;").replace('"', "&quot;").replace("/", "&#x2F;"),
}
MASKED: dict[str, Spelling] = {
    "in the middle": lambda text: f"{text[:8]}****{text[-4:]}",
    "with dots": lambda text: f"{text[:9]}...{text[-4:]}",
    "to the end": lambda text: f"{text[:12]}…",
    "from the start": lambda text: f"************{text[-6:]}",
}
BASE64: dict[str, Spelling] = {
    f"{coded.__name__} behind {before}": partial(
        lambda text, coded, before: coded(b"x" * before + text.encode() + b":y" * before).decode(),
        coded=coded,
        before=before,
    )
    for before in range(3)
    for coded in (b64encode, urlsafe_b64encode)
}
SPELLINGS = {**BY_LETTER, **MASKED, **BASE64}


def has_part(text: str, secret: str, name: str = "plain") -> bool:
    """Whether the text still contains a part of the secret in this spelling."""
    spelling = SPELLINGS[name]
    if name in BASE64:
        whole = spelling(secret)
        return any(whole[at : at + 8] in text for at in range(4, len(whole) - 12))
    parts = [secret[at : at + LEAST] for at in range(len(secret) - LEAST + 1)]
    return any(part in text or (name in BY_LETTER and spelling(part) in text) for part in parts)


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("secret", [SECRET, PLAIN], ids=["odd", "plain"])
def test_every_spelling_of_a_secret_is_redacted(name: str, secret: str):
    for before, behind in (
        ("", ""),
        ("The key ", " is wrong."),
        ('{"key":"', '"}'),
        ("%4", "%41"),
        ("\\", "\\"),
    ):
        redacted = redact(f"{before}{SPELLINGS[name](secret)}{behind}", [secret])
        assert "[secret]" in redacted
        assert not has_part(redacted.replace("[secret]", ""), secret, name), redacted


@pytest.mark.parametrize("name", [*BY_LETTER, *BASE64])
def test_the_beginning_of_a_secret_at_the_end_of_a_cut_text_is_redacted(name: str):
    whole = SPELLINGS[name](SECRET)
    for length in range(len(whole)):
        redacted = redact(f"The key is {whole[:length]}", [SECRET], is_cut=True)
        assert not has_part(redacted, SECRET, name), redacted
        assert redacted.startswith("The key is")


def test_text_without_a_secret_is_unchanged():
    words = 'Use "model" & 100% of it: a/b+c \\u0041 %41 ... or **bold**, see https://x.test/?a=b&amp;c.'
    assert redact(words, [PLAIN, SECRET, "xyz"]) == words
    assert redact(words, []) == words
    assert redact(words, ["a/b"]) == words, "too short to be one"


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    st.text(max_size=30),
    st.text(max_size=30),
    st.sampled_from([*BY_LETTER, *BASE64]),
)
def test_any_secret_in_any_text_is_redacted(secret: str, before: str, behind: str, name: str):
    redacted = redact(f"{before} {SPELLINGS[name](secret)} {behind}", [secret])
    assert "[secret]" in redacted
    if secret not in before + behind + "[secret]":
        assert secret not in redacted


@given(st.binary(max_size=200), st.lists(st.text(min_size=4, max_size=12), max_size=3), st.booleans())
def test_a_message_is_made_of_any_bytes(body: bytes, secrets: list[str], is_cut: bool):
    assert isinstance(provider_message(body, secrets=secrets), str)
    assert isinstance(redact(body.decode("latin-1"), secrets, is_cut=is_cut), str)


CUTS = {"words": errors.MAX_MESSAGE_CHARS, "text": 4 * errors.MAX_MESSAGE_CHARS, "body": 64 * 1024}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("shape", ["text", "json", "json in json"])
def test_a_key_at_any_place_of_an_error_is_redacted(
    gateway: GatewayServer, vendor: Vendor, cut: str, shape: str
):
    """At each offset around each place where a message is cut, through the running gateway."""
    gateway.add(endpoint("canary", entity(base=vendor.url, key=PLAIN)))
    for at in range(CUTS[cut] - len(PLAIN) - 20, CUTS[cut] + 4, 3):
        words = "w" * at + " " + PLAIN + " " + "v" * 200
        error = json.dumps({"error": {"message": json.dumps({"a": words}) if "in" in shape else words}})
        content = words if shape == "text" else error
        vendor.set_answers(Answer(400, {"Content-Type": "application/json"}, (content.encode(),)))
        answer = gateway.query("canary")
        assert answer.status_code == 400
        assert not has_part(answer.text, PLAIN), answer.text[-200:]


def test_a_key_repeated_beyond_the_cut_is_redacted(gateway: GatewayServer, vendor: Vendor):
    """Replacing each key by [secret] shortens the text, so that more of it is before the cut."""
    gateway.add(endpoint("canary", entity(base=vendor.url, key=PLAIN)))
    for lead in range(0, len(PLAIN), 5):
        vendor.set_answers(Answer(400, {}, (b"x" * lead + PLAIN.encode() * 3000,)))
        assert not has_part(gateway.query("canary").text, PLAIN)


def test_a_key_in_the_error_of_a_stream_is_redacted(gateway: GatewayServer, vendor: Vendor):
    gateway.add(endpoint("canary", entity(base=vendor.url, key=PLAIN)))
    for at in range(errors.MAX_MESSAGE_CHARS - len(PLAIN) - 5, errors.MAX_MESSAGE_CHARS + 4, 7):
        event = json.dumps({"error": {"message": "w" * at + " " + PLAIN}})
        vendor.set_answers(Answer.stream(f"data: {event}\n\n".encode()))
        redacted = gateway.query(
            "canary", {"messages": [{"role": "user", "content": "x"}], "stream": True}
        ).text
        assert "error" in redacted and not has_part(redacted, PLAIN)
