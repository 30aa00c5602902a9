"""Everything that the gateway knows, as immutable data: principals, tokens, endpoints, limits, and secrets in plain text.

A query reads `SnapshotHolder.current` once and uses that snapshot until it ends, so it sees each change completely or not at all. This module
knows no database: `serving_ui/snapshots/` builds the snapshots. Field names of Endpoint, Limit, Timeouts and Principal
are also keys in the cached snapshot in the data folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import Addresses
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.lib.egress import EgressPolicy


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: a person (`kind` "user") or a "service_principal", with the ids of its groups."""

    id: str
    email: str
    is_admin: bool = False
    kind: str = "user"
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """The principal of an access token. `expires_at` is a Unix time; None never expires."""

    principal: Principal
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A served entity: a model at a provider, with the secrets of its config resolved to plaintext.

    `task` is None for an own model that answers any JSON. `others` are the configs of other addresses that lead to the same model.
    """

    name: str
    provider: str
    model: str
    task: Task | None
    config: ProviderConfig = field(repr=False)
    others: tuple[ProviderConfig, ...] = field(default=(), repr=False)

    def elsewhere(self) -> Entity:
        """The same entity at its next address."""
        first, *rest = (*self.others, self.config)
        return replace(self, config=first, others=tuple(rest))


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `per_minute` calls or tokens in any minute, of the endpoint, a user, a group or a service principal (`key`).

    `principal` is the id of whom it is for, `shown` the name in errors. Without a principal, a limit with the key "user" applies to
    each principal by itself and one with the key "service_principal" to each service principal.
    """

    key: str
    per_minute: int
    unit: str = "calls"
    principal: str | None = None
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint with its active config.

    `users` are the ids of principals that may query it, `viewers` of those that may only see it; with `everyone` all may query it,
    with `everyone_sees` all may see it. `problem` says why it is not ready. `routes` are (entity name, percentage), and empty for
    a single entity. `fallback`: another entity is tried when one fails. Without `timeouts` those of the gateway apply.
    """

    id: str
    name: str
    task: Task | None
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
        """The entity of that name, or the first one without a name; None if there is none."""
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
    """Everything at one revision. `tokens` is keyed by the SHA-256 of the token, `principals` by id (for session tokens)."""

    revision: int = 0
    endpoints: Mapping[str, Endpoint] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    tokens: Mapping[bytes, TokenEntry] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    principals: Mapping[str, Principal] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    session_token_key: bytes = field(default=b"", repr=False)
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    addresses: Addresses = field(default_factory=lambda: Addresses({}))


class SnapshotHolder:
    """Holds the newest snapshot. One assignment replaces it, so readers need no lock.

    `rank_and_count`: this process's number, from 0, among the live gateway processes, and how many there are. `limits_mode`:
    how rate limits are counted at the moment (a value of `limits.Mode`).
    """

    __slots__ = ("current", "limits_mode", "rank_and_count")

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.current = snapshot or Snapshot()
        self.rank_and_count = (0, 1)
        self.limits_mode = "own"

    def replace(self, snapshot: Snapshot) -> None:
        self.current = snapshot
