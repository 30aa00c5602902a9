"""The control plane's way to a provider: `requests`, under the outbound policy, within one total time, and ended at once by `abort`.

What is sent is made by the modules that make the gateway's requests, and the faults are the gateway's, so that both say the same
of the same host. The host is resolved once, each address is asked of the policy, and the connection goes to that very address.
Redirects are not followed, proxies of the environment not used, and nothing is sent twice.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, contextmanager, suppress
from functools import cache
from time import monotonic
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import SKIP_HEADER

from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway import outgoing
from serving_ui.gateway.connection import (
    ConnectFailed,
    ConnectionCut,
    MalformedReply,
    TimedOut,
    UpstreamFault,
)
from serving_ui.gateway.pool import CertificateInvalid
from serving_ui.lib.content_coding import NotDecodable, decoder
from serving_ui.lib.egress import EgressPolicy
from serving_ui.lib.http_url import HttpUrl

CALL_SECONDS = 20.0
"""For all that a call sends, from the first name to be resolved to the last byte that is read."""
CONNECT_SECONDS = 5.0
NEXT_ADDRESS_SECONDS = 1.5
_PROBLEMS = (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError)
_trust = cache(outgoing.trust)


class Aborted(UpstreamFault):
    """Whoever asked does not want the answer any more."""


class Reply:
    """A provider's answer whose status and headers have arrived."""

    def __init__(self, response: requests.Response, call: Call) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._call = call

    def read_start(self, *, most: int) -> bytes:
        """The beginning of the body, at most `most` bytes when it is decoded. Raises TimedOut or Aborted."""
        content = b""
        with suppress(ConnectionCut, MalformedReply), self._call.faults():
            while len(content) < most and (part := self._response.raw.read1(most, decode_content=False)):
                content += part
        return _decoded(content, self.headers.get("content-encoding", ""), most)[:most]


class Call:
    """Some requests to one provider, with `seconds` for all of them. `abort` may be called from any thread."""

    def __init__(self, *, policy: EgressPolicy, seconds: float = CALL_SECONDS) -> None:
        self._policy = policy
        self._seconds = seconds
        self._ends_at = 0.0
        self._timer = threading.Timer(
            seconds, self._end, [TimedOut(f"it did not answer within {seconds:g} s")]
        )
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._fault: UpstreamFault | None = None
        self._resolving: Future[list[str]] | None = None
        self._socket: socket.socket | None = None
        self._host = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.cancel()
        self._hold(None)

    def abort(self) -> None:
        """Close the connection now; whoever waits for an answer gets Aborted."""
        self._end(Aborted("nobody waits for the answer"))

    @contextmanager
    def send(self, request: UpstreamRequest) -> Iterator[Reply]:
        """The answer, to be read within the block. Raises UpstreamFault or EgressRefused."""
        to = outgoing.address_of(request.url)
        outgoing.head(request, to)  # refuses what cannot be put on the wire
        self._start()
        adapter = _Adapter(to, self)
        with closing(adapter):
            with self.faults():
                response = adapter.send(_prepared(request, to), stream=True, timeout=self._seconds)
            try:
                yield Reply(response, self)
            finally:
                response.close()
                self._hold(None)

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Whatever goes wrong in the block is told as the gateway tells it, or is what has ended this call."""
        try:
            yield
        except UpstreamFault as fault:
            raise self._fault or fault from None
        except _PROBLEMS as problem:
            # Not `from problem`: what it says may have the URL, with a key in it.
            raise self._fault or _fault(problem, self._host) from None
        if self._fault is not None:
            raise self._fault

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection to the first address that accepts one. Raises UpstreamFault or EgressRefused."""
        self._host = host
        until = min(monotonic() + CONNECT_SECONDS, self._ends_at)
        try:
            addresses = self._resolved(host, port, until - monotonic())
            for address in addresses[:-1]:
                with suppress(OSError):
                    return self._opened(address, port, min(NEXT_ADDRESS_SECONDS, until - monotonic()))
            return self._opened(addresses[-1], port, until - monotonic())
        except TimeoutError:
            raise TimedOut(f"it accepted no connection within {CONNECT_SECONDS:g} s") from None
        except OSError as problem:
            raise ConnectFailed(problem.strerror or "no connection") from None

    def _start(self) -> None:
        if not self._ends_at:
            self._ends_at = monotonic() + self._seconds
            self._timer.start()
        if self._fault is not None:
            raise self._fault

    def _resolved(self, host: str, port: int, seconds: float) -> list[str]:
        with self._lock:
            if self._fault is not None:
                raise self._fault
            self._resolving = self._policy.resolving(host=host, port=port)
        try:
            return self._resolving.result(seconds)
        except socket.gaierror:
            raise ConnectFailed(f"the name {host} has no address") from None

    def _opened(self, address: str, port: int, seconds: float) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._hold(made)
            made.settimeout(max(seconds, 0.001))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect((address, port))
            made.settimeout(self._seconds)
        except BaseException:
            made.close()
            raise
        return made

    def _hold(self, used: socket.socket | None) -> None:
        """Keep a second handle of the connection, because TLS takes the first one away. Raises what has ended this call."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = used.dup() if used is not None else None
            if self._fault is not None and used is not None:
                raise self._fault

    def _end(self, fault: UpstreamFault) -> None:
        with self._lock:
            self._fault = self._fault or fault
            if self._resolving is not None:
                with suppress(InvalidStateError):
                    self._resolving.set_exception(self._fault)
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Sends one prepared request to one address, by connections that the call makes."""

    def __init__(self, to: HttpUrl, call: Call) -> None:
        super().__init__()
        self._to = to
        self._call = call
        self._pool: HTTPConnectionPool | None = None

    def get_connection_with_tls_context(self, *_given: Any, **_options: Any) -> HTTPConnectionPool:
        connect = self._call.connect

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return connect(self.host, self.port)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return connect(self.host, self.port)

        if self._to.secure:
            self._pool = HTTPSConnectionPool(self._to.host, self._to.port, ssl_context=_trust())
            self._pool.ConnectionCls = Secure
        else:
            self._pool = HTTPConnectionPool(self._to.host, self._to.port)
            self._pool.ConnectionCls = Plain
        return self._pool

    def close(self) -> None:
        super().close()
        if self._pool is not None:
            self._pool.close()

    def cert_verify(self, *_given: Any) -> None:
        """The context of the pool says whom to trust; the base would add certifi's authorities to the system's."""

    def request_url(self, *_given: Any) -> str:
        return self._to.target


def _prepared(request: UpstreamRequest, to: HttpUrl) -> requests.PreparedRequest:
    """The request as it is: what `requests` would prepare differs from the gateway's in many a small way."""
    body = request.body or b""
    made = requests.PreparedRequest()
    made.method, made.url, made.body = request.method, request.url, body
    fields = [*outgoing.fields(request, to), ("content-length", str(len(body)))]
    if not any(name.lower() == "user-agent" for name, _value in fields):
        fields.append(("user-agent", SKIP_HEADER))
    made.headers = HTTPHeaderDict(fields)  # type: ignore[assignment] # its own cannot have a name twice
    return made


def _decoded(content: bytes, coding: str, most: int) -> bytes:
    """What of it can be decoded, and not much more than `most` bytes."""
    parts = b""
    with suppress(NotDecodable):
        decoding = decoder(coding.encode("latin-1", "replace"))
        if decoding is None:
            return content
        decoding.feed(content)
        while len(parts) < most and (part := decoding.take()):
            parts += part
    return parts


def _fault(problem: Exception, host: str) -> UpstreamFault:
    causes = list(_causes(problem))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CertificateInvalid(f"its certificate is not valid for {host}: {cause.verify_message}")
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return TimedOut("it did not answer in time")
    if any(isinstance(cause, http.client.HTTPException) for cause in causes):
        cut = http.client.RemoteDisconnected | http.client.IncompleteRead
        if not any(isinstance(cause, cut) for cause in causes):
            return MalformedReply("the reply is not proper HTTP")
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return ConnectFailed("no connection")
    return ConnectionCut("the connection ended before the reply was complete")


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__
