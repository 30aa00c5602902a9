"""Parsing of URLs, and the egress policy for every notation of an address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.lib import http_url
from serving_ui.lib.egress import EgressPolicy, EgressRefused
from serving_ui.lib.http_url import InvalidUrl
from tests.architecture.sources import ROOT

FORBIDDEN = ("127.0.0.1", "10.1.2.3", "169.254.169.254")


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authority"),
    [
        ("https://API.example.com", "api.example.com", 443, "/", "api.example.com"),
        ("https://api.example.com.:443/v1", "api.example.com", 443, "/v1", "api.example.com"),
        ("http://api.example.com:443", "api.example.com", 443, "/", "api.example.com:443"),
        ("http://[::1]:9000/v1?a=b", "::1", 9000, "/v1?a=b", "[::1]:9000"),
        ("https://bücher.example/ä b".replace(" ", "%20"), "xn--bcher-kva.example", 443, "/%C3%A4%20b", "xn--bcher-kva.example"),
        ("https://x.test/%2f%zz?q=%e4#part", "x.test", 443, "/%2F%25zz?q=%E4", "x.test"),
        ("https://x.test//v1/../a", "x.test", 443, "//v1/../a", "x.test"),
        ("http://１２７.0.0.1", "127.0.0.1", 80, "/", "127.0.0.1"),
    ],
)  # fmt: skip
def test_a_url_is_parsed(url: str, host: str, port: int, target: str, authority: str):
    found = http_url.parse(url)
    assert (found.host, found.port, found.target, found.authority) == (host, port, target, authority)
    assert found.secure == url.startswith("https")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.test",
        "ftp://x.test",
        "http://",
        "http://.",
        "http://x.test:0",
        "http://x.test:65536",
        "http://a..b",
        f"http://{'a' * 64}.test",
        "http://x.test/\n",
        "http://x.test\t/",
        "http://x\\y",
        "http://user@x.test",
        "http://[::1",
        "http://[::g]",
        "https://straße.example",
        "https://a´b.example",
        "https://a!b.example",
        "https://x.test/\ud800",
        "https://\ud800.test",
    ],
)
def test_an_invalid_url_is_refused(url: str):
    with pytest.raises(InvalidUrl, match=r"\.$|--\.$"):
        http_url.parse(url)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str):
    for url in (text, f"https://{text}", f"https://x.test/{text}"):
        try:
            found = http_url.parse(url)
        except InvalidUrl:
            continue
        assert found.host.isascii() and found.target.isascii() and found.authority.isascii()
        assert not any(each.isspace() for each in found.host + found.target)
        assert http_url.parse(f"http://{found.authority}{found.target}").target == found.target


def number_texts(number: int) -> st.SearchStrategy[str]:
    """Notations of a number that inet_aton accepts."""
    zeros = st.integers(0, 3).map("0".__mul__)
    return st.one_of(
        st.just(str(number)),
        st.tuples(st.sampled_from(["0x", "0X"]), zeros, st.sampled_from([f"{number:x}", f"{number:X}"])).map("".join),
        zeros.map(lambda lead: f"0{lead}{number:o}"),
    )  # fmt: skip


def ipv4_texts(content: bytes) -> st.SearchStrategy[str]:
    """Notations of an IPv4 address, in one to four parts."""

    def of(parts: int) -> st.SearchStrategy[str]:
        lead, rest = content[: parts - 1], int.from_bytes(content[parts - 1 :], "big")
        return st.tuples(*map(number_texts, lead), number_texts(rest)).map(".".join)

    return st.integers(1, 4).flatmap(of)


def ipv6_texts(content: bytes) -> st.SearchStrategy[str]:
    """IPv6 addresses that contain the IPv4 address."""
    plain, pair = socket.inet_ntoa(content), f"{content[:2].hex()}:{content[2:].hex()}"
    spellings = [f"::ffff:{plain}", f"::{plain}", f"64:ff9b::{plain}", f"64:ff9b:1::{plain}", f"::ffff:0:{plain}",
                 f"2002:{pair}::1", f"fe80::5efe:{plain}", f"::FFFF:{pair}", f"0:0:0:0:0:ffff:{pair}"]  # fmt: skip
    return st.sampled_from(spellings).map(lambda each: f"[{each}]")


WIDE = str.maketrans("0123456789.", "０１２３４５６７８９。")
SPELLINGS = st.sampled_from(FORBIDDEN).map(socket.inet_aton).flatmap(
    lambda content: st.one_of(
        ipv4_texts(content), ipv6_texts(content), ipv4_texts(content).map(lambda each: each.translate(WIDE)),
        ipv4_texts(content).map(lambda each: f"{each}."),
    )
)  # fmt: skip


@given(SPELLINGS, st.sampled_from(["http", "https", "HTTP"]))
def test_every_notation_of_a_forbidden_address_is_refused(host: str, scheme: str):
    try:
        found = socket.getaddrinfo(host.strip("[]"), 80, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        found = []
    with pytest.raises(EgressRefused):
        EgressPolicy().check_url(f"{scheme}://{host}:80/v1")
    for entry in found:
        with pytest.raises(EgressRefused):
            EgressPolicy().check_address(host=host, port=80, address=str(entry[4][0]))


@pytest.mark.parametrize(
    ("url", "listed"),
    [
        ("http://vendor.internal", "vendor.internal:80"),
        ("https://vendor.internal/", "vendor.internal:443"),
        ("https://vendor.internal:8443", "vendor.internal:8443"),
        ("http://[fd00::1]", "[fd00::1]:80"),
        ("http://10.1.2.3", "10.1.2.3:80"),
    ],
)
def test_a_replaced_address_is_listed_with_host_and_port(tmp_path: Path, url: str, listed: str):
    program = "from serving_ui import settings; print(*settings.EGRESS_LISTED)"
    env = {**os.environ, "SERVING_UI_DATA": str(tmp_path), "SERVING_UI_BASE_URL_COHERE": url}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, check=True)  # fmt: skip
    entries = done.stdout.split()
    assert listed in entries
    policy = EgressPolicy(listed=tuple(entries))
    found, leads_to = http_url.parse(url), "fd00::1" if "fd00" in url else "10.1.2.3"
    policy.check_address(host=found.host, port=found.port, address=leads_to)
    with pytest.raises(EgressRefused):
        policy.check_address(host=found.host, port=6379, address=leads_to)
