"""Builds what gateways serve from the rows: endpoints with resolved secrets, tokens by digest, who may query.

Runs beside the gateway, in its process. A snapshot follows the last one by building anew what was changed since, and nothing
else; it is built whole at the start, and when it is no longer known what was changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.conf import settings

from serving_ui.endpoints import callers, outbound, served
from serving_ui.endpoints.models import Grant
from serving_ui.gateway import snapshot as gateway
from serving_ui.revisions.changes import Subject, changes_since, current_revision
from serving_ui.revisions.models import Change
from serving_ui.vault.models import ScopeGrant

MOST_REPLAYED = 1000  # subjects; beyond that, and far below what an SQL statement can hold, all is built


class SnapshotBuilder:
    """Remembers what it built last."""

    def __init__(self) -> None:
        self._held: gateway.Snapshot | None = None
        self._parts: dict[str, served.Part] = {}  # by endpoint id

    def build(self) -> gateway.Snapshot:
        """The newest snapshot. The revision is read first: what follows can only be newer."""
        revision = current_revision()
        held, since = self._held, None
        if held is not None and held.revision <= revision:
            if held.revision == revision:
                return held
            since = changes_since(held.revision)
        if held is None or since is None or len(since) > MOST_REPLAYED:
            made = self._whole(revision)
        else:
            made = self._replayed(held, _Changed.by(since), revision)
        self._held = made
        return made

    def _whole(self, revision: int) -> gateway.Snapshot:
        self._parts = {part.endpoint.id: part for part in served.parts()}
        principals = callers.principals()
        return gateway.Snapshot(
            revision=revision,
            endpoints={part.endpoint.name: part.endpoint for part in self._parts.values()},
            tokens=callers.tokens(principals),
            session_token_key=settings.PASS_KEY,
            principals=principals,
            egress=outbound.policy(),
            addresses=outbound.addresses(),
        )

    def _replayed(self, held: gateway.Snapshot, changed: _Changed, revision: int) -> gateway.Snapshot:
        """`held` with what was changed built anew."""
        principals, tokens = _callers_after(held, changed)
        gone = changed.principals - principals.keys()
        return replace(
            held,
            revision=revision,
            principals=principals,
            tokens=tokens,
            endpoints=self._endpoints_after(held, changed, gone=gone),
        )

    def _endpoints_after(
        self, held: gateway.Snapshot, changed: _Changed, *, gone: set[str]
    ) -> dict[str, gateway.Endpoint]:
        ids = set(changed.endpoints)
        if changed.groups or changed.secrets or changed.principals:  # else nobody need look at all of them
            ids |= {pk for pk, part in self._parts.items() if _concerns(part, changed, gone)}
        if changed.groups:
            ids |= set(Grant.objects.filter(group__in=changed.groups).values_list("endpoint", flat=True))
        if not ids:
            return dict(held.endpoints)
        endpoints = dict(held.endpoints)
        fresh = {part.endpoint.id: part for part in served.parts(ids=ids)}
        for pk in ids:
            before = self._parts.pop(pk, None)
            if before is not None:
                endpoints.pop(before.endpoint.name, None)
        self._parts |= fresh
        return endpoints | {part.endpoint.name: part.endpoint for part in fresh.values()}


@dataclass(frozen=True, slots=True)
class _Changed:
    """What some changes were about, by kind."""

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
        if groups := found[Subject.GROUP]:  # whoever joined or left one may read its scopes, or may no longer
            given = ScopeGrant.objects.filter(group__in=groups).values_list("scope__name", flat=True)
            found[Subject.SECRET] |= {f"{name}/" for name in given}
        return cls(
            endpoints=found[Subject.ENDPOINT],
            principals=found[Subject.PRINCIPAL],
            groups=found[Subject.GROUP],
            tokens=found[Subject.TOKEN],
            secrets=found[Subject.SECRET],
        )


def _callers_after(held: gateway.Snapshot, changed: _Changed) -> tuple[callers.Principals, callers.Tokens]:
    principals, tokens = dict(held.principals), dict(held.tokens)
    people = changed.principals | callers.concerned(held.principals, groups=changed.groups)
    if people:
        for pk in people:
            principals.pop(pk, None)
        principals |= callers.principals(ids=people)
        tokens = {key: entry for key, entry in tokens.items() if entry.principal.id not in people}
    if people or changed.tokens:
        for digest in changed.tokens:
            tokens.pop(bytes.fromhex(digest), None)
        tokens |= callers.tokens(principals, holders=people, digests=changed.tokens)
    return principals, tokens


def _concerns(part: served.Part, changed: _Changed, gone: set[str]) -> bool:
    """Whether an endpoint follows one of these, or was given to somebody who is gone."""
    if gone and not (part.endpoint.users.isdisjoint(gone) and part.endpoint.viewers.isdisjoint(gone)):
        return True
    if part.references and any(
        not changed.secrets.isdisjoint((f"{s}/{k}", f"{s}/")) for s, k in part.references
    ):
        return True
    if not part.authorisers.isdisjoint(changed.principals):
        return True
    if part.limited and not part.limited.isdisjoint(changed.groups | changed.principals):
        return True
    return not part.groups.isdisjoint(changed.groups)
