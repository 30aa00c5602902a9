"""Sends the control plane's requests to providers: `requests` with the outbound policy, one total timeout, and `abort`.

Requests are serialised by the gateway's modules, and errors are the gateway's exceptions, so that check and gateway report the same for
the same host. The host name is resolved once, the policy checks each address, and the connection is made to a checked address.
Redirects are not followed, proxies of the environment are ignored, and nothing is retried.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, contextmanager, suppress
from functools import cache, partial
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
"""Total timeout of the requests of one call, from the first name resolution to the last byte read."""
CONNECT_SECONDS = 5.0
NEXT_ADDRESS_SECONDS = 1.5
_PROBLEMS = (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError)
_tls_context = cache(outgoing.tls_context)


class Aborted(UpstreamFault):
    """`Call.abort` was called."""


class ProviderResponse:
    """A provider's answer whose status and headers have arrived."""

    def __init__(self, response: requests.Response, call: Call) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._call = call

    def read_start(self, *, max_bytes: int) -> bytes:
        """The beginning of the body, at most `max_bytes` bytes when it is decoded. Raises TimedOut or Aborted."""
        content = b""
        with suppress(ConnectionCut, MalformedReply), self._call.translated_errors():
            while len(content) < max_bytes and (
                part := self._response.raw.read1(max_bytes, decode_content=False)
            ):
                content += part
        return _decode(content, self.headers.get("content-encoding", ""), max_bytes)[:max_bytes]


class Call:
    """Requests to one provider with one total timeout of `seconds`. `abort` is thread-safe."""

    def __init__(self, *, policy: EgressPolicy, seconds: float = CALL_SECONDS) -> None:
        self._policy = policy
        self._seconds = seconds
        self._ends_at = 0.0
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._fault: UpstreamFault | None = None
        self._resolving: Future[list[str]] | None = None
        self._socket: socket.socket | None = None
        self._host = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._set_socket(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # or timer and call would refer to each other until a garbage collection

    def abort(self) -> None:
        """Closes the connection. The thread that waits for a response gets Aborted."""
        self._end(Aborted("the check was cancelled"))

    @contextmanager
    def send(self, request: UpstreamRequest) -> Iterator[ProviderResponse]:
        """Sends a request and yields the response, which must be read within the block. Raises UpstreamFault or EgressRefused."""
        address = outgoing.address_of(request.url)
        outgoing.head(request, address)  # raises InvalidUpstreamRequest
        self._start()
        adapter = _Adapter(address, self)
        with closing(adapter):
            with self.translated_errors():
                response = adapter.send(_prepare(request, address), stream=True, timeout=self._seconds)
            try:
                yield ProviderResponse(response, self)
            finally:
                response.close()
                self._set_socket(None)

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Raises errors of the block as the gateway's exceptions, or as the exception that ended this call."""
        try:
            yield
        except UpstreamFault as fault:
            raise self._fault or fault from None
        except _PROBLEMS as problem:
            # Not `from problem`: its message may contain the URL, which may contain a key.
            raise self._fault or _to_fault(problem, self._host) from None
        if self._fault is not None:
            raise self._fault

    def connect(self, host: str, port: int) -> socket.socket:
        """Connects to the first address that accepts. Raises UpstreamFault or EgressRefused."""
        self._host = host
        until = min(monotonic() + CONNECT_SECONDS, self._ends_at)
        try:
            addresses = self._resolve(host, port, until - monotonic())
            for address in addresses[:-1]:
                with suppress(OSError):
                    return self._open(address, port, min(NEXT_ADDRESS_SECONDS, until - monotonic()))
            return self._open(addresses[-1], port, until - monotonic())
        except TimeoutError:
            raise TimedOut(f"it accepted no connection within {CONNECT_SECONDS:g} s") from None
        except OSError as problem:
            raise ConnectFailed(problem.strerror or "no connection could be made") from None

    def _start(self) -> None:
        if not self._ends_at:
            self._ends_at = monotonic() + self._seconds
            late = TimedOut(f"it did not answer within {self._seconds:g} s")
            self._timer = threading.Timer(self._seconds, self._end, [late])
            self._timer.daemon = True
            self._timer.start()
        if self._fault is not None:
            raise self._fault

    def _resolve(self, host: str, port: int, seconds: float) -> list[str]:
        with self._lock:
            if self._fault is not None:
                raise self._fault
            self._resolving = self._policy.start_resolving(host=host, port=port)
        try:
            return self._resolving.result(seconds)
        except socket.gaierror:
            raise ConnectFailed(f"the name {host} has no address") from None

    def _open(self, address: str, port: int, seconds: float) -> socket.socket:
        new = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._set_socket(new)
            new.settimeout(max(seconds, 0.001))
            new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            new.connect((address, port))
            new.settimeout(self._seconds)
        except BaseException:
            new.close()
            raise
        return new

    def _set_socket(self, used: socket.socket | None) -> None:
        """Stores a duplicate of the connection's socket for `abort`, because TLS detaches the original. Raises if the call has ended."""
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


class Calls:
    """Creates calls, each with a total timeout of its own. `abort` is thread-safe and aborts all of them, later ones too."""

    def __init__(self, *, policy: EgressPolicy, seconds: float = CALL_SECONDS) -> None:
        self._policy = policy
        self._seconds = seconds
        self._lock = threading.Lock()
        self._created: list[Call] = []
        self._is_aborted = False

    def create(self) -> Call:
        call = Call(policy=self._policy, seconds=self._seconds)
        with self._lock:
            self._created.append(call)
            is_aborted = self._is_aborted
        if is_aborted:
            call.abort()
        return call

    def abort(self) -> None:
        with self._lock:
            self._is_aborted = True
            created = list(self._created)
        for call in created:
            call.abort()


def _connection(call: Call, kind: type[HTTPConnection], *arguments: Any, **options: Any) -> HTTPConnection:
    """A connection of urllib3 whose socket is opened by the call. A subclass for each call would be a reference cycle."""
    connection = kind(*arguments, **options)
    connection._new_conn = partial(call.connect, connection.host, connection.port)  # type: ignore[method-assign]
    return connection


class _Adapter(HTTPAdapter):
    """Sends prepared requests over connections that the call opens."""

    def __init__(self, address: HttpUrl, call: Call) -> None:
        super().__init__()
        self._address = address
        self._call = call
        self._pool: HTTPConnectionPool | None = None

    def get_connection_with_tls_context(self, *_arguments: Any, **_options: Any) -> HTTPConnectionPool:
        if self._address.secure:
            self._pool = HTTPSConnectionPool(
                self._address.host, self._address.port, ssl_context=_tls_context()
            )
            self._pool.ConnectionCls = partial(_connection, self._call, HTTPSConnection)  # type: ignore[assignment]
        else:
            self._pool = HTTPConnectionPool(self._address.host, self._address.port)
            self._pool.ConnectionCls = partial(_connection, self._call, HTTPConnection)  # type: ignore[assignment]
        return self._pool

    def close(self) -> None:
        super().close()
        if self._pool is not None:
            self._pool.close()

    def cert_verify(self, *_arguments: Any) -> None:
        """Does nothing: the pool's SSL context has the trusted authorities, to which the base class would add certifi's."""

    def request_url(self, *_arguments: Any) -> str:
        return self._address.target


def _prepare(request: UpstreamRequest, address: HttpUrl) -> requests.PreparedRequest:
    """Builds the request with exactly the gateway's headers, which `requests` would otherwise change."""
    body = request.body or b""
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.body = request.method, request.url, body
    fields = [*outgoing.header_fields(request, address), ("content-length", str(len(body)))]
    if not any(name.lower() == "user-agent" for name, _value in fields):
        fields.append(("user-agent", SKIP_HEADER))
    prepared.headers = HTTPHeaderDict(fields)  # type: ignore[assignment] # requests' own class cannot have a name twice
    return prepared


def _decode(content: bytes, coding: str, max_bytes: int) -> bytes:
    """Decodes as much of the content as is valid, and not much more than `max_bytes` bytes."""
    parts = b""
    with suppress(NotDecodable):
        content_decoder = decoder(coding.encode("latin-1", "replace"))
        if content_decoder is None:
            return content
        content_decoder.feed(content)
        while len(parts) < max_bytes and (part := content_decoder.take()):
            parts += part
    return parts


def _to_fault(problem: Exception, host: str) -> UpstreamFault:
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
        return ConnectFailed("no connection could be made")
    return ConnectionCut("the connection ended before the reply was complete")


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__
