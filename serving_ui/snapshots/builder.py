"""Builds snapshots from the rows: endpoints with resolved secrets, principals, and tokens by digest.

Runs in the process of the gateway. A new snapshot rebuilds only what was changed since the last one. It is built as a whole at the
start, after too many changes, and when the changes since the last snapshot are no longer known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.conf import settings

from serving_ui.endpoints import outbound
from serving_ui.endpoints.models import Grant
from serving_ui.gateway import snapshot as gateway
from serving_ui.revisions.changes import Subject, changes_since, current_revision
from serving_ui.revisions.models import Change
from serving_ui.snapshots.endpoints import EndpointEntry, build_endpoints
from serving_ui.snapshots.principals import (
    Principals,
    Tokens,
    affected_principals,
    build_principals,
    build_tokens,
)
from serving_ui.vault.models import ScopeGrant

MAX_INCREMENTAL_CHANGES = 1000  # changes; far below the number of parameters that an SQL statement can have


class SnapshotBuilder:
    """Holds the last snapshot and what each of its endpoints depends on."""

    def __init__(self) -> None:
        self._last: gateway.Snapshot | None = None
        self._entries: dict[str, EndpointEntry] = {}  # by endpoint id

    def build(self) -> gateway.Snapshot:
        """The newest snapshot. The revision is read first, so the rows may be newer than it, but never older."""
        revision = current_revision()
        last, changes = self._last, None
        if last is not None and last.revision <= revision:
            if last.revision == revision:
                return last
            changes = changes_since(last.revision)
        if last is None or changes is None or len(changes) > MAX_INCREMENTAL_CHANGES:
            snapshot = self._build_all(revision)
        else:
            snapshot = self._rebuild_changed(last, _Changed.by(changes), revision)
        self._last = snapshot
        return snapshot

    def _build_all(self, revision: int) -> gateway.Snapshot:
        self._entries = {entry.endpoint.id: entry for entry in build_endpoints()}
        principals = build_principals()
        return gateway.Snapshot(
            revision=revision,
            endpoints={entry.endpoint.name: entry.endpoint for entry in self._entries.values()},
            tokens=build_tokens(principals),
            session_token_key=settings.SESSION_TOKEN_KEY,
            principals=principals,
            egress=outbound.policy(),
            addresses=outbound.addresses(),
        )

    def _rebuild_changed(self, last: gateway.Snapshot, changed: _Changed, revision: int) -> gateway.Snapshot:
        """`last` with the changed parts rebuilt."""
        principals, tokens = _rebuild_principals(last, changed)
        deactivated = changed.principals - principals.keys()
        return replace(
            last,
            revision=revision,
            principals=principals,
            tokens=tokens,
            endpoints=self._rebuild_endpoints(last, changed, deactivated=deactivated),
        )

    def _rebuild_endpoints(
        self, last: gateway.Snapshot, changed: _Changed, *, deactivated: set[str]
    ) -> dict[str, gateway.Endpoint]:
        ids = set(changed.endpoints)
        if changed.groups or changed.secrets or changed.principals:  # other changes affect no other endpoint
            ids |= {pk for pk, entry in self._entries.items() if _is_affected(entry, changed, deactivated)}
        if changed.groups:
            ids |= set(Grant.objects.filter(group__in=changed.groups).values_list("endpoint", flat=True))
        if not ids:
            return dict(last.endpoints)
        endpoints = dict(last.endpoints)
        rebuilt = {entry.endpoint.id: entry for entry in build_endpoints(ids=ids)}
        for pk in ids:
            before = self._entries.pop(pk, None)
            if before is not None:
                endpoints.pop(before.endpoint.name, None)
        self._entries |= rebuilt
        return endpoints | {entry.endpoint.name: entry.endpoint for entry in rebuilt.values()}


@dataclass(frozen=True, slots=True)
class _Changed:
    """The subjects of some changes, by kind."""

    endpoints: set[str]
    principals: set[str]
    groups: set[str]
    tokens: set[str]
    secrets: set[str]

    @classmethod
    def by(cls, changes: list[Change]) -> _Changed:
        found: dict[str, set[str]] = {kind: set() for kind in Subject}
        for each in changes:
            found[each.kind].add(each.subject)
        if groups := found[Subject.GROUP]:  # its members gained or lost the right to read these scopes
            scopes = ScopeGrant.objects.filter(group__in=groups).values_list("scope__name", flat=True)
            found[Subject.SECRET] |= {f"{name}/" for name in scopes}
        return cls(
            endpoints=found[Subject.ENDPOINT],
            principals=found[Subject.PRINCIPAL],
            groups=found[Subject.GROUP],
            tokens=found[Subject.TOKEN],
            secrets=found[Subject.SECRET],
        )


def _rebuild_principals(last: gateway.Snapshot, changed: _Changed) -> tuple[Principals, Tokens]:
    principals, tokens = dict(last.principals), dict(last.tokens)
    ids = changed.principals | affected_principals(last.principals, groups=changed.groups)
    if ids:
        for pk in ids:
            principals.pop(pk, None)
        principals |= build_principals(ids=ids)
        tokens = {digest: entry for digest, entry in tokens.items() if entry.principal.id not in ids}
    if ids or changed.tokens:
        for digest in changed.tokens:
            tokens.pop(bytes.fromhex(digest), None)
        tokens |= build_tokens(principals, holders=ids, digests=changed.tokens)
    return principals, tokens


def _is_affected(entry: EndpointEntry, changed: _Changed, deactivated: set[str]) -> bool:
    """Whether the endpoint depends on a changed subject, or was shared with a principal that is now deactivated."""
    endpoint = entry.endpoint
    if deactivated and not (
        endpoint.users.isdisjoint(deactivated) and endpoint.viewers.isdisjoint(deactivated)
    ):
        return True
    if entry.references and any(
        not changed.secrets.isdisjoint((f"{scope}/{key}", f"{scope}/")) for scope, key in entry.references
    ):
        return True
    if not entry.authorisers.isdisjoint(changed.principals):
        return True
    if entry.limit_principals and not entry.limit_principals.isdisjoint(changed.groups | changed.principals):
        return True
    return not entry.groups.isdisjoint(changed.groups)
