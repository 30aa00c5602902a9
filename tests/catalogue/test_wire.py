"""Upstream requests: addresses, headers with secrets, and bodies in OpenAI's format."""

from __future__ import annotations

import json

import pytest

from serving_ui.catalogue import upstream
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.upstream import Addresses, SecretUnusable, UnsupportedRequest, UpstreamRequest
from tests.catalogue.samples import CANARY


def test_only_scheme_host_and_port_of_a_vendor_address_are_replaced() -> None:
    addresses = Addresses({"anthropic": "http://127.0.0.1:9000/ignored?x=1"})
    assert (
        addresses.vendor("https://api.anthropic.com/v1/models?a=b", "anthropic")
        == "http://127.0.0.1:9000/v1/models?a=b"
    )
    assert addresses.vendor("https://api.openai.com/v1", "openai") == "https://api.openai.com/v1"


def test_an_origin_always_has_its_port() -> None:
    assert upstream.origin("HTTPS://Host/path") == "https://host:443"
    assert upstream.origin("http://host") == "http://host:80"
    assert upstream.origin("https://user@host:8443/x") == "https://host:8443"
    assert upstream.origin("http://[::1]:80/") == "http://[::1]:80"


def test_a_request_hides_headers_and_body() -> None:
    request = UpstreamRequest("POST", "https://host/", (("Authorization", CANARY),), CANARY.encode())
    assert CANARY not in repr(request)


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\x00b", "schlüssel", "a\u2028b"])
def test_a_secret_that_is_no_valid_header_value_is_refused_with_a_message(value: str) -> None:
    with pytest.raises(SecretUnusable, match="Store it again") as refused:
        upstream.bearer(Secret.from_plaintext(value))
    assert not value.strip() or value not in str(refused.value)


def test_white_space_around_a_key_is_not_sent() -> None:
    assert upstream.bearer(Secret.from_plaintext(" key\n")) == ("Authorization", "Bearer key")
    with pytest.raises(SecretUnusable):
        upstream.bearer(None)


def test_the_body_keeps_unknown_fields_and_drops_those_of_the_gateway() -> None:
    body = {
        "model": "the-endpoint",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": False},
        "new_vendor_field": {"a": [1]},
        "temperature": 0,
        "usage_context": {"team": "a"},
        "client_request_id": "id",
        "extra_params": {"top_k": 5, "temperature": 1, "stream": False, "model": "other"},
    }
    before = json.dumps(body)
    assert upstream.openai_body(body, model="gpt-4o") == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": False},
        "new_vendor_field": {"a": [1]},
        "temperature": 0,
        "top_k": 5,
    }
    assert "model" not in upstream.openai_body(body, model=None)
    assert json.dumps(body) == before


def test_extra_params_must_be_an_object() -> None:
    for wrong in ("x", [1], 5):
        with pytest.raises(UnsupportedRequest, match="extra_params must be an object"):
            upstream.openai_body({"extra_params": wrong}, model="m")
    assert upstream.openai_body({"extra_params": None}, model="m") == {"model": "m"}


def test_bodies_are_utf8_json_even_with_lone_surrogates() -> None:
    assert upstream.post_json("https://host", {"a": "日本"}).body == '{"a":"日本"}'.encode()
    assert upstream.post_json("https://host", {"a": "\ud800"}).body == b'{"a":"\\ud800"}'


def test_a_streamed_request_accepts_event_streams() -> None:
    assert ("Accept", "text/event-stream") in upstream.post_json("https://host", {"stream": True}).headers
    assert ("Accept", "application/json") in upstream.post_json("https://host", {"stream": False}).headers


def test_a_value_is_quoted_as_one_path_segment() -> None:
    assert upstream.path_segment("a/../b?c#d") == "a%2F..%2Fb%3Fc%23d"
