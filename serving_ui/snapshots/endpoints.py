"""Builds the endpoints of a snapshot from their rows, and records what each one depends on besides its own row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _
from pydantic import ValidationError

from serving_ui.accounts.models import EVERYONE, Membership
from serving_ui.catalogue.endpoint_settings import Timeouts
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import cluster, limits
from serving_ui.endpoints.models import ConfigVersion, Endpoint, Grant
from serving_ui.endpoints.permissions import Action, Level, allows
from serving_ui.endpoints.resolution import SecretValues, Unresolved, references_of, resolve
from serving_ui.gateway import snapshot as gateway
from serving_ui.gateway.timeouts import Timeouts as GatewayTimeouts
from serving_ui.snapshots import own_models
from serving_ui.vault.queries import Reference

Members = Mapping[str, AbstractSet[str]]  # ids of users by id of their group
Served = tuple[tuple[gateway.Entity, ...], str | None]
CHUNK_SIZE = 500  # rows whose groups and secrets are fetched together


@dataclass(frozen=True, slots=True)
class EndpointEntry:
    """An endpoint of a snapshot. It must be rebuilt when its row or anything named in the other fields is changed."""

    endpoint: gateway.Endpoint
    groups: frozenset[str]
    """Ids of the groups that have a grant on it."""
    references: frozenset[Reference]
    """The secrets that its config refers to."""
    authorisers: frozenset[str]
    """Ids of the users on whose right these secrets are sent."""
    limit_principals: frozenset[str]
    """Ids of the users and groups that its rate limits name."""


def build_endpoints(*, ids: AbstractSet[str] | None = None) -> Iterator[EndpointEntry]:
    """The endpoints with these ids that exist; without `ids`, all. An endpoint that cannot be served has its `problem` set."""
    rows = _rows() if ids is None else _rows().filter(pk__in=ids)
    chunk: list[Endpoint] = []
    # A server-side cursor costs three round trips more, so it is used for many rows only.
    for row in rows if ids is not None and len(ids) <= CHUNK_SIZE else rows.iterator(chunk_size=CHUNK_SIZE):
        chunk.append(row)
        if len(chunk) == CHUNK_SIZE:
            yield from _build(chunk)
            chunk = []
    yield from _build(chunk)


def _rows() -> QuerySet[Endpoint]:
    """Endpoints with their configs and with their grants as `row.all_grants`. Two queries."""
    grants = Grant.objects.filter(level__gte=Level.CAN_VIEW).select_related("group")
    return Endpoint.objects.select_related("active", "pending").prefetch_related(
        Prefetch("grants", queryset=grants, to_attr="all_grants")
    )


def _build(rows: Sequence[Endpoint]) -> Iterator[EndpointEntry]:
    versions = {row.pk: version for row in rows if (version := _served_version(row))}
    configs = {pk: _read_config(version) for pk, version in versions.items()}
    values = SecretValues.load(
        versions[pk] for pk, config in configs.items() if isinstance(config, ConfigSpec)
    )
    members = _members(rows)
    proxies = cluster.proxies() if any(row.kind == Kind.OWN_MODEL for row in rows) else ()
    names = limits.names_of(pk for row in rows for pk in limits.principals(row))
    for row in rows:
        config, version = configs.get(row.pk), versions.get(row.pk)
        grants: list[Grant] = row.all_grants  # type: ignore[attr-defined]
        served = _build_entities(version, config, values, proxies)
        yield EndpointEntry(
            endpoint=replace(
                _build_endpoint(row, config, grants, served, members),
                limits=limits.gateway_limits(row, names),
                routes=_routes(config),
                fallback=bool(row.ai_gateway.get("fallback_config", {}).get("enabled")),
                timeouts=_timeouts(row.timeouts),
            ),
            groups=frozenset(grant.group_id for grant in grants if grant.group_id),
            references=frozenset(references_of(config)) if isinstance(config, ConfigSpec) else frozenset(),
            authorisers=values.authorisers(version) if version else frozenset(),
            limit_principals=limits.principals(row),
        )


def _served_version(row: Endpoint) -> ConfigVersion | None:
    """The pending config once it was published, else the active one unless the endpoint is stopped."""
    if row.pending and row.pending.published_revision:
        return row.pending
    return None if row.is_stopped else row.active


def _read_config(version: ConfigVersion) -> ConfigSpec | str:
    """The config, or why it cannot be read."""
    try:
        return version.config
    except (SpecErrors, ValidationError) as reason:
        return str(reason)


def _build_endpoint(
    row: Endpoint,
    config: ConfigSpec | str | None,
    grants: list[Grant],
    served: Served,
    members: Members,
) -> gateway.Endpoint:
    version = _served_version(row)
    entities, problem = served
    if version is None:
        problem = _why_nothing_is_served(row)
    query_grants = [grant for grant in grants if allows(Level(grant.level), Action.QUERY)]
    users = _users(query_grants, members) | {row.creator_id}
    return gateway.Endpoint(
        id=row.pk,
        name=row.name,
        task=config.task if isinstance(config, ConfigSpec) else Task.CHAT,
        entities=entities,
        config_version=version.number if version else 0,
        ready=bool(entities),
        problem=problem,
        users=frozenset(user for user in users if user),
        viewers=frozenset(user for user in _users(grants, members) - users if user),
        everyone=row.is_ready_made or _include_everyone(query_grants),
        everyone_sees=_include_everyone(grants),
    )


def _why_nothing_is_served(row: Endpoint) -> str | None:
    """None while the first config is being prepared."""
    if row.is_stopped:
        return _("It is stopped. Whoever manages it can start it on its page.")
    return None if row.pending_id else _("It has no active configuration. Whoever manages it can edit it.")


def _build_entities(
    version: ConfigVersion | None,
    config: ConfigSpec | str | None,
    values: SecretValues,
    proxies: Sequence[str],
) -> Served:
    """The served entities with their secrets; or none, and why."""
    if version is None or not isinstance(config, ConfigSpec):
        return (), config if isinstance(config, str) else None
    try:
        resolved = resolve(version, values=values)
    except Unresolved as reason:
        return (), str(reason)
    if config.kind is Kind.OWN_MODEL:
        entities = own_models.build_entities(version, config, proxies)
        return entities, None if entities else _(
            "The Ray cluster does not answer. It is tried again every few seconds."
        )
    return tuple(
        gateway.Entity(
            name=entity.name,
            provider=entity.external.provider,
            model=entity.external.name,
            task=entity.external.task,
            config=entity.external.config,
        )
        for entity in resolved.served_entities
    ), None


def _routes(config: ConfigSpec | str | None) -> tuple[tuple[str, int], ...]:
    """Traffic percentages by entity name; empty for a single entity."""
    if not isinstance(config, ConfigSpec) or len(config.served_entities) < 2:
        return ()
    return tuple((r.served_entity_name, r.traffic_percentage) for r in config.traffic_config.routes)


def _timeouts(timeouts: Mapping[str, float]) -> GatewayTimeouts | None:
    return GatewayTimeouts(**Timeouts.model_validate(timeouts).effective()) if timeouts else None


def _members(rows: Sequence[Endpoint]) -> Members:
    """The members of each group that has a grant. One query, or none if no group has one."""
    groups = {grant.group_id for row in rows for grant in row.all_grants if grant.group_id}  # type: ignore[attr-defined]
    found: dict[str, set[str]] = {}
    if groups:
        for group, user in Membership.objects.filter(group__in=groups).values_list("group", "user"):
            found.setdefault(group, set()).add(user)
    return found


def _users(grants: list[Grant], members: Members) -> set[str | None]:
    """The users that have one of these grants, directly or as members of a group."""
    groups = (members.get(grant.group_id or "", frozenset()) for grant in grants)
    return {grant.user_id for grant in grants}.union(*groups)


def _include_everyone(grants: list[Grant]) -> bool:
    return any(grant.group and grant.group.name == EVERYONE for grant in grants)
