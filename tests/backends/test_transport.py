"""The control plane's transport to a provider: one total timeout, abort from another thread, and a limit of bytes."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

import pytest

from serving_ui.backends.transport import Aborted, Call
from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.connection import TimedOut, UpstreamFault
from serving_ui.lib.egress import EgressPolicy, EgressRefused
from tests.support.garbage import garbage
from tests.support.raw_server import RawServer, raw_server
from tests.support.vendor import Answer, Vendor, running_vendor
from tests.support.waiting import wait_until

POLICY = EgressPolicy(loopback=True)
SOON = 30.0
"""Seconds; far less than what a server of these tests takes."""
DRIP = (b"x",) * 600
WAYS: dict[str, Callable[[RawServer], None]] = {
    "says nothing": lambda server: server.answer(b"", close=False, later=(b"",) * 600),
    "drips its head": lambda server: server.answer(b"HTTP/1.1 200 OK\r\nx: ", later=DRIP),
    "drips its status": lambda server: server.answer(b"", later=(*(bytes([each]) for each in b"HTTP/1.1 200 O"), *DRIP)),
    "drips its body": lambda server: server.answer(b"HTTP/1.1 400 No\r\ncontent-length: 900\r\n\r\n", later=DRIP),
    "drips its chunks": lambda server: server.answer(
        b"HTTP/1.1 400 No\r\ntransfer-encoding: chunked\r\n\r\n", later=(b"1\r\nx\r\n",) * 600
    ),
    "drips without an end": lambda server: server.answer(b"HTTP/1.1 400 No\r\n\r\n", later=DRIP),
    "goes on for ever": lambda server: server.answer(b"", later=(b"HTTP/1.1 100 Continue\r\n\r\n",) * 600),
}  # fmt: skip


@pytest.fixture
def raw() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as server:
        yield server


def get_request(url: str) -> UpstreamRequest:
    return UpstreamRequest("GET", url, (("Authorization", "Bearer key"),))


def fetch(url: str, call: Call, *, max_bytes: int = 1000) -> bytes:
    with call.send(get_request(url)) as reply:
        return reply.read_start(max_bytes=max_bytes)


@contextmanager
def port_with_full_queue() -> Iterator[str]:
    """The URL of a listener whose accept queue is full, so that connecting to it neither succeeds nor fails."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(4):
            each = socket.socket()
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(listener.getsockname())
            waiting.append(each)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for each in waiting:
            each.close()


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a host whose name server does not answer."""
    let_go, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *args: object, **options: object) -> object:
        if host == "silent.test":
            let_go.wait(60)
            host = "127.0.0.1"
        return real(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield "http://silent.test:9"
    let_go.set()


def assert_fails(url: str, call: Call, kind: type[UpstreamFault]) -> None:
    began = monotonic()
    with pytest.raises(kind), call:
        fetch(url, call)
    assert monotonic() - began < SOON


@pytest.mark.parametrize("way", WAYS)
def test_received_bytes_do_not_extend_the_total_timeout(raw: RawServer, way: str):
    WAYS[way](raw)
    assert_fails(raw.url, Call(policy=POLICY, seconds=0.8), TimedOut)


@pytest.mark.parametrize("way", WAYS)
def test_an_abort_ends_the_call_at_once(raw: RawServer, way: str):
    WAYS[way](raw)
    call = Call(policy=POLICY, seconds=60)
    threading.Timer(0.4, call.abort).start()
    assert_fails(raw.url, call, Aborted)


def test_an_abort_closes_the_connection(vendor: Vendor):
    vendor.set_answers(Answer(400, {}, (b"x", threading.Event(), b"y")))
    call = Call(policy=POLICY, seconds=60)

    def abort_when_received() -> None:
        wait_until(lambda: vendor.requests)
        call.abort()

    threading.Thread(target=abort_when_received).start()
    assert_fails(vendor.url, call, Aborted)
    (request,) = vendor.requests
    wait_until(request.gone.is_set)


def test_the_timeout_and_an_abort_apply_to_connecting_resolving_and_tls(raw: RawServer, silent_resolver: str):
    raw.answer(b"", close=False)  # the server waits for a whole request, which a TLS handshake is not
    with port_with_full_queue() as url:
        for each in (url, raw.url.replace("http:", "https:"), silent_resolver):
            assert_fails(each, Call(policy=POLICY, seconds=0.5), TimedOut)
            call = Call(policy=POLICY, seconds=60)
            threading.Timer(0.3, call.abort).start()
            assert_fails(each, call, Aborted)


def test_several_requests_share_the_total_timeout(raw: RawServer):
    raw.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", later=(b"", b"", b"ok"))
    began, done = monotonic(), 0
    with pytest.raises(TimedOut), Call(policy=POLICY, seconds=4) as call:
        for _ in range(100):
            assert fetch(raw.url, call) == b"ok"
            done += 1
    assert done >= 1
    assert monotonic() - began < SOON


def test_an_aborted_call_sends_no_further_request(raw: RawServer):
    with Call(policy=POLICY) as call:
        call.abort()
        with pytest.raises(Aborted):
            fetch(raw.url, call)
    assert raw.connections == 0


def test_connections_and_threads_end_with_the_call(raw: RawServer):
    raw.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", close=False)
    before = threading.active_count()
    with Call(policy=POLICY) as call:
        fetch(raw.url, call)
        wait_until(lambda: raw.closed == raw.connections == 1)
    wait_until(lambda: threading.active_count() <= before)


def test_an_answered_call_leaves_no_reference_cycles(raw: RawServer):
    def run() -> None:
        with Call(policy=POLICY) as call:
            assert fetch(raw.url, call) == b"ok"

    def timers() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if isinstance(each, threading.Timer)]

    times, earlier = 5, set(threading.enumerate())
    raw.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    run()  # creates what is cached
    with garbage(times) as found:
        for _ in range(times):
            run()
        wait_until(lambda: earlier.issuperset(timers()))
    assert not found


@pytest.mark.parametrize("coding", ["", "gzip", "deflate", "br"])
def test_no_more_than_max_bytes_is_read_also_from_a_compressed_body(vendor: Vendor, coding: str):
    whole = b'{"error": "' + b"no " * 2_000_000
    packed = {
        "": whole,
        "gzip": gzip.compress(whole),
        "deflate": zlib.compress(whole),
        "br": b"\x0b\x00\x80a",
    }
    vendor.set_answers(Answer(400, {"Content-Encoding": coding} if coding else {}, (packed[coding],)))
    with Call(policy=POLICY) as call:
        content = fetch(vendor.url, call, max_bytes=10_000)
    assert content == (b"" if coding == "br" else whole[:10_000])


def test_raw_deflate_is_decompressed(vendor: Vendor):
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    vendor.set_answers(
        Answer(400, {"Content-Encoding": "deflate"}, (made.compress(b"words") + made.flush(),))
    )
    with Call(policy=POLICY) as call:
        assert fetch(vendor.url, call) == b"words"


def test_the_start_of_a_body_that_was_cut_is_returned(raw: RawServer):
    raw.answer(b"HTTP/1.1 401 No\r\ncontent-length: 900\r\n\r\nNo such key")
    with Call(policy=POLICY) as call:
        assert fetch(raw.url, call) == b"No such key"


def test_the_egress_policy_is_checked_before_connecting(raw: RawServer):
    with pytest.raises(EgressRefused), Call(policy=EgressPolicy()) as call:
        fetch(raw.url, call)
    assert raw.connections == 0
