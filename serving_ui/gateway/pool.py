"""The connections to one origin (scheme, host, port): made to a checked address, kept while idle, used again.

The host is resolved once, every resolved address is asked of the egress policy, and the connection goes to that very address:
there is no second resolution that could answer differently. TLS still verifies the certificate against the host's name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import partial

from serving_ui.gateway.connection import Connection, Late, NotReached, UpstreamFault
from serving_ui.lib.egress import EgressPolicy, EgressRefused

_IDLE = 30.0
_MOST_IDLE = 512
_ADDRESSES_KEPT = 10.0
_NEXT_ADDRESS_AFTER = 1.5


class Untrusted(UpstreamFault):
    """The certificate of the other side is not the host's."""


class Origin:
    """All connections to one scheme, host and port."""

    def __init__(self, *, tls: ssl.SSLContext | None, host: str, port: int) -> None:
        self.tls = tls
        self.host = host
        self.port = port
        self._idle: deque[Connection] = deque()
        self._policy: EgressPolicy | None = None
        self._addresses: list[str] = []
        self._addresses_until = 0.0
        self._resolving: asyncio.Task[list[str]] | None = None

    def take(self, *, policy: EgressPolicy, now: float) -> Connection | None:
        """An idle connection that the policy still allows, the most recently used first."""
        if policy is not self._policy:
            self._obey(policy)
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.idle_since > now - _IDLE:
                return connection
            connection.close()
        return None

    def give(self, connection: Connection, *, now: float) -> None:
        """Take a connection back: kept when its reply was whole and its address is still allowed."""
        if connection.reusable and len(self._idle) < _MOST_IDLE:
            connection.idle_since = now
            self._idle.append(connection)
        else:
            connection.close()

    def sweep(self, *, now: float) -> None:
        """Close what has been idle for too long; the oldest are at the left."""
        while self._idle and (self._idle[0].closed or self._idle[0].idle_since <= now - _IDLE):
            self._idle.popleft().close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

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
        if policy is not self._policy:
            self._obey(policy)
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
            found = await loop.run_in_executor(None, partial(policy.resolve, host=self.host, port=self.port))
        except OSError as problem:
            raise NotReached(f"the name {self.host} has no address") from problem
        if policy is self._policy:
            self._addresses, self._addresses_until = found, loop.time() + _ADDRESSES_KEPT
        return found

    def _resolution_over(self, task: asyncio.Task[list[str]]) -> None:
        self._resolving = None
        if not task.cancelled():
            task.exception()  # seen, even when everybody who waited for it has left

    def _obey(self, policy: EgressPolicy) -> None:
        """A new policy is in force: whatever was resolved or is idle under the old one is asked again."""
        self._policy = policy
        self._addresses_until = 0.0
        self._resolving = None
        for connection in list(self._idle):
            try:
                policy.check_address(host=self.host, port=self.port, address=connection.address)
            except EgressRefused:
                self._idle.remove(connection)
                connection.close()
