"""The transports of the worker and of the gateway send the same bytes for a request, and raise the same errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_ui.backends import transport
from serving_ui.backends.transport import Call
from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.connection import ConnectFailed, UpstreamFault
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.lib.egress import EgressPolicy, EgressRefused
from tests.gateway.test_egress import resolve_as
from tests.support.asgi_server import RunningServer, serve
from tests.support.certificates import make_certificate
from tests.support.raw_server import RawServer, raw_server
from tests.support.waiting import free_port

POLICY = EgressPolicy(loopback=True)
HOST = "provider.test"
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

Outcomes = tuple[Any, Any]


def send_with_both(request: UpstreamRequest, policy: EgressPolicy = POLICY) -> Outcomes:
    """The outcome of each transport: status and body, or the class and message of the error."""
    return send_with_call(request, policy), asyncio.run(send_with_client(request, policy))


def send_with_call(request: UpstreamRequest, policy: EgressPolicy) -> Any:
    try:
        with Call(policy=policy) as call, call.send(request) as reply:
            return reply.status, reply.read_start(max_bytes=1000)
    except (UpstreamFault, EgressRefused) as fault:
        return type(fault), str(fault)


async def send_with_client(request: UpstreamRequest, policy: EgressPolicy) -> Any:
    client = UpstreamClient()
    client.start()
    try:
        reply = await client.send(request, policy=policy)
        try:
            return reply.status, await reply.read_start(max_bytes=1000)
        finally:
            reply.release()
    except (UpstreamFault, EgressRefused) as fault:
        return type(fault), str(fault)
    finally:
        client.stop()


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    with raw_server() as server:
        server.answer(OK)
        yield server


def in_order(request: bytes) -> tuple[bytes, ...]:
    """Start line, headers sorted by name, and body: the order of headers with different names has no meaning."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    return (first, *sorted(headers, key=lambda line: line.partition(b":")[0].lower()), body)


# The same request through both transports.

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True)
VALUES = st.text(st.characters(max_codepoint=0x17F, exclude_categories=["Cs"]), max_size=20)
PATHS = st.text(st.characters(exclude_characters="#\\"), max_size=30)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["GET", "POST"]),
    PATHS,
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.none() | st.binary(max_size=60),
)
def test_both_transports_send_the_same_bytes_or_raise_the_same_error(
    raw: RawServer, method: str, path: str, headers: list[tuple[str, str]], body: bytes | None
):
    raw.requests.clear()
    usual = ("host", "content-length", "transfer-encoding", "expect")
    own_headers = tuple(header for header in headers if header[0].lower() not in usual)
    checked, queried = send_with_both(UpstreamRequest(method, f"{raw.url}/{path}", own_headers, body))
    assert checked == queried
    assert len(raw.requests) in (0, 2)
    one, other = map(in_order, raw.requests) if raw.requests else ((), ())
    assert one == other


@pytest.mark.parametrize(
    "url",
    [
        "http://{}/v1//models",
        "http://{}/a/../b/./c",
        "http://{}/%2f%zz",
        "http://{}?key=a+b&c=%e4",
        "HTTP://{}/ü#part",
        "http://{}",
    ],
)
def test_both_transports_send_the_same_request_line(raw: RawServer, url: str):
    raw.requests.clear()
    request = UpstreamRequest("GET", url.format(f"127.0.0.1:{raw.port}"), (("Authorization", "Bearer key"),))
    assert send_with_both(request)[0] == send_with_both(request)[1] == (200, b"{}")
    assert len(set(raw.requests)) == 1


@pytest.mark.parametrize(
    ("host", "sent"),
    [("bücher.test", "xn--bcher-kva.test"), ("ＵＰＰＥＲ.test.", "upper.test"), ("two.test", "two.test")],
)
def test_both_transports_resolve_and_send_the_same_host(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch, host: str, sent: str
):
    raw.requests.clear()
    resolved = resolve_as(monkeypatch, {sent: ["127.0.0.1"]})
    checked, queried = send_with_both(UpstreamRequest("GET", f"http://{host}:{raw.port}/", ()))
    assert checked == queried == (200, b"{}")
    assert [name for name in resolved if name.endswith("test")] == [sent, sent]
    assert all(f"\r\nhost: {sent}:{raw.port}\r\n".encode() in request for request in raw.requests)


ANSWERS = {
    "a redirect": b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/stolen\r\ncontent-length: 0\r\n\r\n",
    "a redirect for ever": b"HTTP/1.1 308 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    "a refusal": b"HTTP/1.1 401 No\r\ncontent-length: 7\r\n\r\nno such",
    "a refusal that was cut": b"HTTP/1.1 401 No\r\ncontent-length: 90\r\n\r\nno such",
    "a hint before it": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_both_transports_read_a_reply_in_the_same_way(raw: RawServer, name: str):
    raw.requests.clear()
    raw.answer(ANSWERS[name])
    checked, queried = send_with_both(UpstreamRequest("GET", raw.url, ()))
    raw.answer(OK)
    assert checked == queried
    assert len(raw.requests) == 2, "no redirect is followed"


@pytest.mark.parametrize("content", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 2"])
def test_both_transports_raise_for_an_invalid_reply(raw: RawServer, content: bytes):
    raw.answer(content)
    checked, queried = send_with_both(UpstreamRequest("GET", raw.url, ()))
    raw.answer(OK)
    assert issubclass(checked[0], UpstreamFault) and issubclass(queried[0], UpstreamFault)


REFUSED = {
    "a line break in a value": ("http://127.0.0.1:{}", (("Authorization", "Bearer a\nb"),)),
    "a return in a value": ("http://127.0.0.1:{}", (("Authorization", "Bearer a\rb"),)),
    "a nul in a value": ("http://127.0.0.1:{}", (("Authorization", "Bearer a\0b"),)),
    "a letter that no header has": ("http://127.0.0.1:{}", (("Authorization", "Bearer 鍵"),)),
    "a host that can be two": ("http://straße.test:{}", ()),
    "a host that is none": (f"http://{'a' * 70}.test:{{}}", ()),
    "a user in the address": ("http://me@127.0.0.1:{}", ()),
    "another scheme": ("ftp://127.0.0.1:{}", ()),
    "metadata": ("http://169.254.169.254", ()),
    "a private network": ("http://10.1.2.3", ()),
    "metadata inside": ("http://[64:ff9b::a9fe:a9fe]", ()),
    "a name of metadata": ("http://metadata.google.internal", ()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_both_transports_refuse_a_request_with_the_same_message(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch, name: str
):
    resolve_as(monkeypatch, {"metadata.google.internal": ["127.0.0.1"]})
    raw.requests.clear()
    url, headers = REFUSED[name]
    checked, queried = send_with_both(UpstreamRequest("GET", url.format(raw.port), headers))
    assert checked == queried
    assert issubclass(checked[0], UpstreamFault | EgressRefused)
    assert raw.requests == []


def test_both_transports_refuse_a_name_that_resolves_to_a_forbidden_address(monkeypatch: pytest.MonkeyPatch):
    resolve_as(monkeypatch, {"innocent.test": ["169.254.169.254", "10.0.0.1"]})
    checked, queried = send_with_both(UpstreamRequest("GET", "http://innocent.test", ()))
    assert checked == queried
    assert checked[0] is EgressRefused


def test_both_transports_raise_the_same_error_for_a_refused_connection():
    checked, queried = send_with_both(UpstreamRequest("GET", f"http://127.0.0.1:{free_port()}", ()))
    assert checked[0] is queried[0] is ConnectFailed


def test_both_transports_ignore_proxies_and_netrc_of_the_environment(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login thief password thief\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    raw.requests.clear()
    with raw_server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert send_with_both(UpstreamRequest("GET", raw.url, ()))[0][0] == 200
        assert proxy.requests == []
    assert b"uthorization" not in raw.requests[0] + raw.requests[1]


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), host=HOST)


async def _fine(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture(scope="module")
def secure(certificate: tuple[Path, Path]) -> Iterator[RunningServer]:
    cert, key = certificate
    with serve(_fine, ssl_certfile=str(cert), ssl_keyfile=str(key)) as running:
        yield running


@pytest.fixture
def fresh_trust() -> Iterator[None]:
    transport._tls_context.cache_clear()
    yield
    transport._tls_context.cache_clear()


@pytest.mark.usefixtures("fresh_trust")
@pytest.mark.parametrize("is_trusted", [True, False])
@pytest.mark.parametrize("host", [HOST, f"{HOST}.", "other.test", "127.0.0.1"])
def test_both_transports_trust_the_system_store_and_check_the_host_name(
    secure: RunningServer,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    is_trusted: bool,
    host: str,
):
    """SSL_CERT_FILE is the path of the system's certificate store."""
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    resolve_as(monkeypatch, {HOST: ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    checked, queried = send_with_both(UpstreamRequest("GET", f"https://{host}:{secure.port}/", ()))
    assert checked == queried
    if is_trusted and host.startswith(HOST):
        assert checked == (200, b"{}")
    else:
        assert "its certificate is not valid for" in checked[1]


@pytest.mark.usefixtures("fresh_trust")
def test_without_a_system_store_both_transports_trust_certifi(
    secure: RunningServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr("certifi.where", lambda: str(certificate[0]))
    resolve_as(monkeypatch, {HOST: ["127.0.0.1"]})
    assert send_with_both(UpstreamRequest("GET", f"https://{HOST}:{secure.port}/", ())) == ((200, b"{}"),) * 2
