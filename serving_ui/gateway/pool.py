"""Connections to providers: made to a checked address, kept while idle, used again by those who send the same credentials.

A host is resolved once, every resolved address is asked of the egress policy, and the connection goes to that very address: there
is no second resolution that could answer differently. TLS still verifies the certificate against the host's name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Hashable
from functools import partial

from serving_ui.gateway.circuit_breaker import CircuitBreaker
from serving_ui.gateway.connection import Connection, Late, NotReached, UpstreamFault
from serving_ui.lib.egress import EgressPolicy, EgressRefused

# uvicorn, Node and Apache close after 5 s. Who asks in that very instant gets no answer, and nobody knows whether the request was read.
_IDLE = 4.0
MOST_IDLE = 1024
_ADDRESSES_KEPT = 10.0
_NEXT_ADDRESS_AFTER = 1.5


class Untrusted(UpstreamFault):
    """The certificate of the other side is not the host's."""


class Origin:
    """One scheme, host and port: where its connections go, and how it fares."""

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
    def shown(self) -> str:
        """Scheme, host and port as text."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}"

    async def connect(self, *, policy: EgressPolicy, seconds: float) -> Connection:
        """A new connection to the first address that accepts one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                addresses = await self._resolved(policy)
                for address in addresses[:-1]:
                    try:
                        async with asyncio.timeout(_NEXT_ADDRESS_AFTER):
                            return await self._open(address)
                    except (TimeoutError, NotReached):
                        continue
                return await self._open(addresses[-1])
        except TimeoutError as late:
            raise Late(f"it accepted no connection within {seconds:g} s") from late

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
            raise Untrusted(
                f"its certificate is not valid for {self.host}: {problem.verify_message}"
            ) from problem
        except (OSError, ssl.SSLError) as problem:
            raise NotReached(problem.strerror or "no connection") from problem
        return connection

    async def _resolved(self, policy: EgressPolicy) -> list[str]:
        if policy is not self._policy:  # what was resolved under another one is asked again
            self._policy, self._addresses_until, self._resolving = policy, 0.0, None
        loop = asyncio.get_running_loop()
        if self._addresses_until > loop.time():
            return self._addresses
        if self._resolving is None:
            self._resolving = loop.create_task(self._resolve(policy))
            self._resolving.add_done_callback(self._resolution_over)
        # One caller's leaving must not end the resolution that the others wait for.
        return await asyncio.shield(self._resolving)

    async def _resolve(self, policy: EgressPolicy) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.wrap_future(policy.resolving(host=self.host, port=self.port))
        except OSError as problem:
            raise NotReached(f"the name {self.host} has no address") from problem
        if policy is self._policy:
            self._addresses, self._addresses_until = found, loop.time() + _ADDRESSES_KEPT
        return found

    def _resolution_over(self, task: asyncio.Task[list[str]]) -> None:
        self._resolving = None
        if not task.cancelled():
            task.exception()  # seen, even when everybody who waited for it has left


Owner = Hashable
"""Stands for an origin and the credentials with which a connection to it is used."""


class Pool:
    """All idle connections of a process, at most MOST_IDLE of them. `now` is a monotonic time in seconds."""

    def __init__(self) -> None:
        self._by_owner: dict[Owner, list[Connection]] = {}
        self._all: dict[Connection, None] = {}
        """In the order in which they became idle."""

    def __len__(self) -> int:
        return len(self._all)

    def take(self, owner: Owner, *, policy: EgressPolicy, now: float) -> Connection | None:
        """The one that was used last of those that are as they were left and whose address the policy allows."""
        while idle := self._by_owner.get(owner):
            connection = idle.pop()
            del self._all[connection]
            if (
                connection.idle_since > now - _IDLE
                and connection.is_silent()
                and (connection.policy is policy or _obeys(connection, policy))
            ):
                return connection
            connection.close()
        return None

    def give(self, connection: Connection, *, now: float) -> None:
        """Take a connection back: it is kept when its reply was whole."""
        if not connection.is_reusable():
            connection.close()
            return
        if len(self._all) >= MOST_IDLE:
            self._drop(next(iter(self._all)))
        connection.idle_since = now
        idle = self._by_owner.get(connection.owner)
        if idle is None:
            idle = self._by_owner[connection.owner] = []
        idle.append(connection)
        self._all[connection] = None

    def sweep(self, *, now: float) -> None:
        """Close what has been idle for too long, and forget what the other side has closed, and who has none."""
        for connection in list(self._all):
            if connection.closed or connection.idle_since <= now - _IDLE:
                self._drop(connection)
        for owner in [owner for owner, idle in self._by_owner.items() if not idle]:
            del self._by_owner[owner]

    def close(self) -> None:
        for connection in list(self._all):
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        del self._all[connection]
        idle = self._by_owner[connection.owner]
        idle.remove(connection)
        if not idle:
            del self._by_owner[connection.owner]
        connection.close()


def _obeys(connection: Connection, policy: EgressPolicy) -> bool:
    """Whether a policy that came later allows the connection's address as well."""
    origin: Origin = connection.origin
    try:
        policy.check_address(host=origin.host, port=origin.port, address=connection.address)
    except EgressRefused:
        return False
    connection.policy = policy
    return True
