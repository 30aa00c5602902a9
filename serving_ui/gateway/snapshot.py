"""The gateway's whole world, as immutable data: who may ask, which endpoints there are, what they lead to.

A request reads `SnapshotHolder.current` once and works with that until it ends, so a change is never half in force.
Nothing here is mutable and nothing here knows where a snapshot comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import Addresses
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.lib.egress import EgressPolicy


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a person ("user") or a "service_principal", and the ids of the groups that it is in."""

    id: str
    email: str
    is_admin: bool = False
    kind: str = "user"
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """What a token stands for. `expires_at` is a Unix time; None never expires."""

    principal: Principal
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A served entity: a model at a provider, with the secrets of its config resolved to plaintext."""

    name: str
    provider: str
    model: str
    task: Task
    config: ProviderConfig = field(repr=False)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` calls or tokens in any minute, of the endpoint, a user, a group or a service principal.

    `principal` is the id of the one that it is for, `shown` what refusals call it. Without one, a limit with the key "user" is
    each principal's own and one with the key "service_principal" each service principal's.
    """

    key: str
    most: int
    unit: str = "calls"
    principal: str | None = None
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint as it is in force.

    `users` are the ids of who may query it and `viewers` of who may only see it; `everyone` opens it to each principal, and
    `everyone_sees` shows it to each.
    `problem` says why it is not ready.
    `routes` are (entity name, percentage); one entity needs none. `fallback` asks another entity when one fails.
    `timeouts` is the endpoint's own; without one the gateway's counts.
    """

    id: str
    name: str
    task: Task
    entities: tuple[Entity, ...]
    config_version: int = 1
    ready: bool = True
    problem: str | None = None
    users: frozenset[str] = frozenset()
    viewers: frozenset[str] = frozenset()
    everyone: bool = False
    everyone_sees: bool = False
    limits: tuple[Limit, ...] = ()
    routes: tuple[tuple[str, int], ...] = ()
    fallback: bool = False
    timeouts: Timeouts | None = None

    def entity(self, name: str | None) -> Entity | None:
        """The entity of that name, or without a name the one that answers."""
        if name is None:
            return self.entities[0] if self.entities else None
        return next((entity for entity in self.entities if entity.name == name), None)

    def counts_tokens(self) -> bool:
        """Whether one of its limits is of tokens."""
        for limit in self.limits:  # noqa: SIM110 - any() takes four times as long, for each query
            if limit.unit == "tokens":
                return True
        return False

    def may_query(self, principal: Principal) -> bool:
        return self.everyone or principal.is_admin or principal.id in self.users

    def may_see(self, principal: Principal) -> bool:
        return self.everyone_sees or self.may_query(principal) or principal.id in self.viewers


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one revision. `tokens` is keyed by SHA-256 of the token, `principals` by id (for passes)."""

    revision: int = 0
    endpoints: Mapping[str, Endpoint] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    tokens: Mapping[bytes, TokenEntry] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    principals: Mapping[str, Principal] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    session_token_key: bytes = field(default=b"", repr=False)
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    addresses: Addresses = field(default_factory=lambda: Addresses({}))


class SnapshotHolder:
    """Keeps the newest snapshot. One assignment replaces it, so readers need no lock.

    `rank_and_count` is which of how many live gateway processes this one is, counted from 0, and `limits` how its rate limits are
    counted at the moment (a word of `limits.Mode`).
    """

    __slots__ = ("current", "limits", "rank_and_count")

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.current = snapshot or Snapshot()
        self.rank_and_count = (0, 1)
        self.limits = "own"

    def replace(self, snapshot: Snapshot) -> None:
        self.current = snapshot
