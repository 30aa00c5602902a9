"""Builds what gateways serve from the rows: endpoints with resolved secrets, tokens by digest, who may query.

Runs beside the gateway, in its process. One endpoint that cannot be built is served with its reason; the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from django.conf import settings
from pydantic import ValidationError

from serving_ui.accounts.models import EVERYONE, AccessToken, Membership, User
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import limits, outbound, publication, queries
from serving_ui.endpoints.models import ConfigVersion, Endpoint, Grant
from serving_ui.endpoints.permissions import Action, Level, allows
from serving_ui.endpoints.resolution import Unresolved, references_of, resolve
from serving_ui.gateway import snapshot as gateway
from serving_ui.vault import queries as vault

Members = Mapping[str, AbstractSet[str]]  # by group
Built = tuple[tuple[gateway.Entity, ...], str | None]  # entities, or why there are none
Cache = dict[tuple[int, frozenset[object]], Built]  # by config version and the dates of its secrets


class SnapshotBuilder:
    """Remembers what it has built, so that a change of one endpoint does not decrypt the secrets of all."""

    def __init__(self) -> None:
        self._built: Cache = {}

    def build(self) -> gateway.Snapshot:
        """The newest snapshot. The revision is read first: what follows can only be newer."""
        revision = publication.current()
        before, self._built = self._built, {}
        rows = list(queries.served())
        principals = _principals()
        members, named = _members(rows), limits.named_in(rows)
        endpoints = {row.name: self._endpoint(row, before, members, named) for row in rows}
        return gateway.Snapshot(
            revision=revision,
            endpoints=endpoints,
            tokens=_tokens(principals),
            pass_key=settings.PASS_KEY,
            principals=principals,
            egress=outbound.policy(),
            addresses=outbound.addresses(),
        )

    def _endpoint(
        self, row: Endpoint, before: Cache, members: Members, named: limits.Named
    ) -> gateway.Endpoint:
        version = row.pending if row.pending and row.pending.published_revision else row.active
        entities, problem = self._entities(version, before) if version else ((), None)
        given: list[Grant] = row.given  # type: ignore[attr-defined]
        querying = [grant for grant in given if allows(Level(grant.level), Action.QUERY)]
        users = _who(querying, members) | {row.creator_id}
        return gateway.Endpoint(
            id=row.pk,
            name=row.name,
            task=Task(version.config.task) if version else Task.CHAT,
            entities=entities,
            config_version=version.number if version else 0,
            ready=bool(entities),
            problem=problem,
            users=frozenset(user for user in users if user),
            viewers=frozenset(user for user in _who(given, members) - users if user),
            everyone=row.is_ready_made or _name_everyone(querying),
            everyone_sees=_name_everyone(given),
            limits=limits.of(row, named),
        )

    def _entities(self, version: ConfigVersion, before: Cache) -> Built:
        try:
            named = references_of(version.config)
            key = (version.pk, frozenset(vault.dates(references=named).items()) if named else frozenset())
            built = before.get(key) or self._built.get(key)
            if built is None:
                built = (_resolved(version), None)
        except (Unresolved, SpecErrors, ValidationError) as reason:
            return (), str(reason)
        self._built[key] = built
        return built


def _members(rows: list[Endpoint]) -> Members:
    """Who is in each group that was given something. One query, and none when no group was."""
    groups = {grant.group_id for row in rows for grant in row.given if grant.group_id}  # type: ignore[attr-defined]
    found: dict[str, set[str]] = {}
    if groups:
        for group, user in Membership.objects.filter(group__in=groups).values_list("group", "user"):
            found.setdefault(group, set()).add(user)
    return found


def _who(grants: list[Grant], members: Members) -> set[str | None]:
    """The principals that these name, by themselves or by a group."""
    groups = (members.get(grant.group_id or "", frozenset()) for grant in grants)
    return {grant.user_id for grant in grants}.union(*groups)


def _name_everyone(grants: list[Grant]) -> bool:
    return any(grant.group and grant.group.name == EVERYONE for grant in grants)


def _resolved(version: ConfigVersion) -> tuple[gateway.Entity, ...]:
    return tuple(
        gateway.Entity(
            name=entity.name,
            provider=entity.external_model.provider,
            model=entity.external_model.name,
            task=entity.external_model.task,
            config=entity.external_model.config,
        )
        for entity in resolve(version.config).served_entities
    )


def _principals() -> dict[str, gateway.Principal]:
    """Everybody who is active, by id."""
    groups, built_in = limits.memberships(), limits.built_in_groups()
    everyone = frozenset(built_in[name] for name in (EVERYONE,) if name in built_in)
    admins = frozenset(built_in.values())
    return {
        user.pk: gateway.Principal(
            id=user.pk,
            email=user.email,
            is_admin=user.is_admin,
            kind=user.kind,
            groups=groups.get(user.pk, frozenset()) | (admins if user.is_admin else everyone),
        )
        for user in User.objects.filter(is_active=True)
    }


def _tokens(principals: Mapping[str, gateway.Principal]) -> dict[bytes, gateway.TokenEntry]:
    rows = AccessToken.objects.filter(user__is_active=True)
    return {
        bytes.fromhex(row.digest): gateway.TokenEntry(
            principal=principals[row.user_id],
            expires_at=row.expires_at.timestamp() if row.expires_at else None,
        )
        for row in rows
        if row.user_id in principals
    }
