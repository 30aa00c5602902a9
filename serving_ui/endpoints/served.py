"""Endpoints as gateways serve them, built from their rows; with each, what else it follows beside its own row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from pydantic import ValidationError

from serving_ui.accounts.models import EVERYONE, Membership
from serving_ui.catalogue.endpoint_settings import Timeouts
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import limits, queries
from serving_ui.endpoints.models import ConfigVersion, Endpoint, Grant
from serving_ui.endpoints.permissions import Action, Level, allows
from serving_ui.endpoints.resolution import Unresolved, Vault, references_of, resolve
from serving_ui.gateway import snapshot as gateway
from serving_ui.gateway.timeouts import Timeouts as GatewayTimeouts
from serving_ui.vault.queries import Reference

Members = Mapping[str, AbstractSet[str]]  # by group
AT_ONCE = 500  # rows whose groups and secrets are fetched together


@dataclass(frozen=True, slots=True)
class Part:
    """One endpoint of a snapshot. It changes also when one of these does: groups to which something was given, secrets, whoever
    gave them, those whom its limits name."""

    endpoint: gateway.Endpoint
    groups: frozenset[str]
    references: frozenset[Reference]
    authorisers: frozenset[str]
    limited: frozenset[str]


def parts(*, ids: AbstractSet[str] | None = None) -> Iterator[Part]:
    """The endpoints with these ids that exist, or all. One that cannot be built is there with its reason."""
    rows = queries.served() if ids is None else queries.served().filter(pk__in=ids)
    chunk: list[Endpoint] = []
    # For a few, a cursor on the server would take three trips more than the answer itself.
    for row in rows if ids is not None and len(ids) <= AT_ONCE else rows.iterator(chunk_size=AT_ONCE):
        chunk.append(row)
        if len(chunk) == AT_ONCE:
            yield from _built(chunk)
            chunk = []
    yield from _built(chunk)


def _built(rows: Sequence[Endpoint]) -> Iterator[Part]:
    versions = {row.pk: version for row in rows if (version := _version(row))}
    configs = {pk: _config(version) for pk, version in versions.items()}
    vault = Vault.behind(versions[pk] for pk, config in configs.items() if isinstance(config, ConfigSpec))
    members = _members(rows)
    names = limits.names_of(pk for row in rows for pk in limits.principals(row))
    for row in rows:
        config, version = configs.get(row.pk), versions.get(row.pk)
        given: list[Grant] = row.given  # type: ignore[attr-defined]
        yield Part(
            endpoint=replace(
                _endpoint(row, config, given, vault, members),
                limits=limits.of(row, names),
                routes=_routes(config),
                fallback=bool(row.ai_gateway.get("fallback_config", {}).get("enabled")),
                timeouts=_timeouts(row.timeouts),
            ),
            groups=frozenset(grant.group_id for grant in given if grant.group_id),
            references=frozenset(references_of(config)) if isinstance(config, ConfigSpec) else frozenset(),
            authorisers=vault.authorisers(version) if version else frozenset(),
            limited=limits.principals(row),
        )


def _version(row: Endpoint) -> ConfigVersion | None:
    """What gateways serve: the pending config from the moment that it was published, else the active one."""
    return row.pending if row.pending and row.pending.published_revision else row.active


def _config(version: ConfigVersion) -> ConfigSpec | str:
    """The config, or why it cannot be read."""
    try:
        return version.config
    except (SpecErrors, ValidationError) as reason:
        return str(reason)


def _endpoint(
    row: Endpoint, config: ConfigSpec | str | None, given: list[Grant], vault: Vault, members: Members
) -> gateway.Endpoint:
    version = _version(row)
    entities, problem = _entities(version, config, vault)
    querying = [grant for grant in given if allows(Level(grant.level), Action.QUERY)]
    users = _who(querying, members) | {row.creator_id}
    return gateway.Endpoint(
        id=row.pk,
        name=row.name,
        task=Task(config.task) if isinstance(config, ConfigSpec) else Task.CHAT,
        entities=entities,
        config_version=version.number if version else 0,
        ready=bool(entities),
        problem=problem,
        users=frozenset(user for user in users if user),
        viewers=frozenset(user for user in _who(given, members) - users if user),
        everyone=row.is_ready_made or _name_everyone(querying),
        everyone_sees=_name_everyone(given),
    )


def _entities(
    version: ConfigVersion | None, config: ConfigSpec | str | None, vault: Vault
) -> tuple[tuple[gateway.Entity, ...], str | None]:
    """The entities with their secrets, or why there are none."""
    if version is None or not isinstance(config, ConfigSpec):
        return (), config if isinstance(config, str) else None
    try:
        resolved = resolve(version, vault=vault)
    except Unresolved as reason:
        return (), str(reason)
    return tuple(
        gateway.Entity(
            name=entity.name,
            provider=entity.external_model.provider,
            model=entity.external_model.name,
            task=entity.external_model.task,
            config=entity.external_model.config,
        )
        for entity in resolved.served_entities
    ), None


def _routes(config: ConfigSpec | str | None) -> tuple[tuple[str, int], ...]:
    """How traffic is divided; a single entity gets it all."""
    if not isinstance(config, ConfigSpec) or len(config.served_entities) < 2:
        return ()
    return tuple((r.served_entity_name, r.traffic_percentage) for r in config.traffic_config.routes)


def _timeouts(timeouts: Mapping[str, float]) -> GatewayTimeouts | None:
    return GatewayTimeouts(**Timeouts.model_validate(timeouts).effective()) if timeouts else None


def _members(rows: Sequence[Endpoint]) -> Members:
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
