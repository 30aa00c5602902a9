"""Connections to providers: opened to a checked address, kept while idle, reused for requests with the same credentials.

A host is resolved once, the egress policy checks every resolved address, and the connection goes to that very address: there is
no second resolution that could answer differently (DNS rebinding). TLS still verifies the certificate against the host's name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Hashable
from functools import partial

from serving_ui.gateway.circuit_breaker import CircuitBreaker
from serving_ui.gateway.connection import ConnectFailed, Connection, TimedOut, UpstreamFault
from serving_ui.lib.egress import EgressPolicy, EgressRefused

# uvicorn, Node and Apache close idle connections after 5 s. A request sent at that instant gets no answer, and it would be unknown
# whether it was read.
_IDLE_SECONDS = 4.0
MAX_IDLE = 1024
_ADDRESS_TTL_SECONDS = 10.0
_NEXT_ADDRESS_SECONDS = 1.5


class CertificateInvalid(UpstreamFault):
    """The certificate of the server is not valid for the host."""


class Origin:
    """One scheme, host and port: its addresses and its circuit breaker."""

    def __init__(self, *, tls: ssl.SSLContext | None, host: str, port: int) -> None:
        self.tls = tls
        self.host = host
        self.port = port
        self.circuit = CircuitBreaker()
        self._policy: EgressPolicy | None = None
        self._addresses: list[str] = []
        self._addresses_until = 0.0
        self._resolving: asyncio.Task[list[str]] | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}"

    async def connect(self, *, policy: EgressPolicy, seconds: float) -> Connection:
        """A new connection to the first address that accepts one within `seconds`. Raises UpstreamFault or EgressRefused."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._resolved(policy)
                for address in addresses[:-1]:
                    try:
                        async with asyncio.timeout(_NEXT_ADDRESS_SECONDS):
                            return await self._open(address)
                    except (TimeoutError, ConnectFailed):
                        continue
                return await self._open(addresses[-1])
        except TimeoutError as late:
            raise TimedOut(f"it accepted no connection within {seconds:g} s") from late

    async def _open(self, address: str) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                partial(Connection, address=address),
                host=address,
                port=self.port,
                ssl=self.tls,
                server_hostname=self.host if self.tls is not None else None,
            )
        except ssl.SSLCertVerificationError as problem:
            raise CertificateInvalid(
                f"its certificate is not valid for {self.host}: {problem.verify_message}"
            ) from problem
        except (OSError, ssl.SSLError) as problem:
            raise ConnectFailed(problem.strerror or "no connection could be made") from problem
        return connection

    async def _resolved(self, policy: EgressPolicy) -> list[str]:
        if policy is not self._policy:  # addresses that another policy allowed are checked again
            self._policy, self._addresses_until, self._resolving = policy, 0.0, None
        loop = asyncio.get_running_loop()
        if self._addresses_until > loop.time():
            return self._addresses
        if self._resolving is None:
            self._resolving = loop.create_task(self._resolve(policy))
            self._resolving.add_done_callback(self._on_resolved)
        # Shielded: when one caller disconnects, the others go on waiting for the same resolution.
        return await asyncio.shield(self._resolving)

    async def _resolve(self, policy: EgressPolicy) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.wrap_future(policy.start_resolving(host=self.host, port=self.port))
        except OSError as problem:
            raise ConnectFailed(f"the name {self.host} has no address") from problem
        if policy is self._policy:
            self._addresses, self._addresses_until = found, loop.time() + _ADDRESS_TTL_SECONDS
        return found

    def _on_resolved(self, task: asyncio.Task[list[str]]) -> None:
        self._resolving = None
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio logs an error when every waiting caller has disconnected


PoolKey = Hashable
"""An origin and the credentials with which a connection to it is used; only requests with the same key share connections."""


class Pool:
    """All idle connections of a process, at most MAX_IDLE of them. `now` is a monotonic time in seconds."""

    def __init__(self) -> None:
        self._by_key: dict[PoolKey, list[Connection]] = {}
        self._all: dict[Connection, None] = {}
        """Oldest first, by `idle_since`."""

    def __len__(self) -> int:
        return len(self._all)

    def acquire(self, key: PoolKey, *, policy: EgressPolicy, now: float) -> Connection | None:
        """The most recently used idle connection that is still usable and whose address the policy allows; else None."""
        while idle := self._by_key.get(key):
            connection = idle.pop()
            del self._all[connection]
            if (
                connection.idle_since > now - _IDLE_SECONDS
                and not connection.is_stale()
                and (connection.policy is policy or _is_allowed(connection, policy))
            ):
                return connection
            connection.close()
        return None

    def release(self, connection: Connection, *, now: float) -> None:
        """Take a connection back: keep it if its reply was read completely, else close it."""
        if not connection.is_reusable():
            connection.close()
            return
        if len(self._all) >= MAX_IDLE:
            self._drop(next(iter(self._all)))
        connection.idle_since = now
        idle = self._by_key.get(connection.pool_key)
        if idle is None:
            idle = self._by_key[connection.pool_key] = []
        idle.append(connection)
        self._all[connection] = None

    def sweep(self, *, now: float) -> None:
        """Close connections that have been idle for too long, and drop closed ones and empty keys."""
        for connection in list(self._all):
            if connection.is_closed or connection.idle_since <= now - _IDLE_SECONDS:
                self._drop(connection)
        for key in [key for key, idle in self._by_key.items() if not idle]:
            del self._by_key[key]

    def close(self) -> None:
        for connection in list(self._all):
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        del self._all[connection]
        idle = self._by_key[connection.pool_key]
        idle.remove(connection)
        if not idle:
            del self._by_key[connection.pool_key]
        connection.close()


def _is_allowed(connection: Connection, policy: EgressPolicy) -> bool:
    """Whether a newer policy allows the connection's address, too."""
    origin: Origin = connection.origin
    try:
        policy.check_address(host=origin.host, port=origin.port, address=connection.address)
    except EgressRefused:
        return False
    connection.policy = policy
    return True
