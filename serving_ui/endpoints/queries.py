"""Reads of endpoints, restricted to what the asking user may see."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Max, Q, QuerySet
from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.catalogue.names import MAX_NAME_LENGTH, endpoint_name_problem
from serving_ui.catalogue.served_entity import Kind
from serving_ui.endpoints.models import ConfigVersion, Endpoint, EndpointEvent, Grant
from serving_ui.endpoints.permissions import Action, Level, allows
from serving_ui.lib.refusal import NotAllowed, NotFound


@dataclass(frozen=True)
class EndpointPage:
    """One page of the list. `total` counts all rows, `pages` all pages."""

    rows: list[Endpoint]
    total: int
    page: int
    pages: int


def visible(*, actor: User) -> QuerySet[Endpoint]:
    """The endpoints that the user may see, with creator and configs. One query."""
    found = Endpoint.objects.select_related("creator", "active", "pending", "latest")
    if actor.is_admin:
        return found
    granted = Grant.objects.filter(held_by(actor), level__gte=Level.CAN_VIEW).values("endpoint")
    return found.filter(Q(creator=actor) | Q(pk__in=granted) | Q(is_ready_made=True))


def held_by(actor: User) -> Q:
    """The grants of the user, direct or through a group."""
    return Q(user=actor) | Q(group__in=actor.group_ids())


def list_endpoints(
    *, actor: User, search: str = "", owned: bool = False, page: int = 1, per_page: int = 25
) -> EndpointPage:
    """One page of the endpoints that the user may see, without foundation models, last modified first. A `page` beyond the last gives the last. Two queries."""
    found = visible(actor=actor).filter(is_ready_made=False).exclude(kind=Kind.FOUNDATION_MODEL)
    if search.strip():
        found = found.filter(name__icontains=search.strip()[: MAX_NAME_LENGTH + 1])
    if owned:
        found = found.filter(creator=actor)
    total = found.count()
    pages = max(1, -(-total // per_page))
    page = min(max(1, page), pages)
    start = (page - 1) * per_page
    rows = list(found.order_by("-modified_at", "name")[start : start + per_page])
    return EndpointPage(rows=rows, total=total, page=page, pages=pages)


def built_in(*, actor: User) -> list[Endpoint]:
    """The built-in endpoints."""
    return list(visible(actor=actor).filter(is_ready_made=True).order_by("created_at", "name"))


def level_of(*, endpoint: Endpoint, actor: User) -> Level:
    """The user's level on the endpoint."""
    if endpoint.is_ready_made:
        return Level.CAN_QUERY
    if actor.is_admin or endpoint.creator_id == actor.pk:
        return Level.CAN_MANAGE
    granted = Grant.objects.filter(held_by(actor), endpoint=endpoint).aggregate(highest=Max("level"))
    return Level(granted["highest"] or Level.NONE)


def get_endpoint(*, name: str, actor: User, action: Action = Action.VIEW) -> Endpoint:
    """The endpoint, with `level` set. Raises NotFound (also when invisible) or NotAllowed."""
    endpoint = visible(actor=actor).filter(name=name).first()
    if endpoint is None:
        raise NotFound(
            _(
                "There is no endpoint named %(name)s that you may see. Check the name, or ask its owner for access."
            )
            % {"name": name}
        )
    return _allowed(endpoint, actor, action)


def get_endpoint_by_id(*, endpoint_id: str, actor: User, action: Action = Action.VIEW) -> Endpoint:
    """Like `get_endpoint`, by id, which is never reused. The permissions API addresses endpoints by id."""
    endpoint = visible(actor=actor).filter(pk=endpoint_id).first()
    if endpoint is None:
        raise NotFound(
            _(
                "There is no endpoint with the id %(id)s that you may see. Get the endpoint by name to see its id."
            )
            % {"id": endpoint_id}
        )
    return _allowed(endpoint, actor, action)


def _allowed(endpoint: Endpoint, actor: User, action: Action) -> Endpoint:
    endpoint.level = level_of(endpoint=endpoint, actor=actor)
    if not allows(endpoint.level, action):
        raise NotAllowed(_not_allowed(endpoint, action))
    return endpoint


def _not_allowed(endpoint: Endpoint, action: Action) -> str:
    if endpoint.is_ready_made:
        return _("%(name)s is built-in and cannot be changed.") % {"name": endpoint.name}
    level = _("Can manage") if action == Action.MANAGE else _("Can query")
    return _("You need the permission %(level)s on %(name)s. Ask its owner for it.") % {
        "level": level,
        "name": endpoint.name,
    }


def name_problem(*, name: str, actor: User) -> str | None:
    """A sentence that says why a new endpoint cannot have this name; None if it can."""
    problem = endpoint_name_problem(name)
    if problem:
        return problem.translated(_)
    if is_taken(name=name):
        return _("An endpoint named %(name)s exists already. Choose another name.") % {"name": name}
    return None


def is_taken(*, name: str) -> bool:
    """Whether any endpoint has this name, visible to the user or not."""
    return Endpoint.objects.filter(name=name).exists()


def events(*, endpoint: Endpoint) -> QuerySet[EndpointEvent]:
    """The endpoint's events, newest first."""
    return endpoint.events.select_related("actor").order_by("-at", "-pk")


def versions(*, endpoint: Endpoint) -> QuerySet[ConfigVersion]:
    """All config versions, newest first."""
    return endpoint.versions.select_related("creator").order_by("-number")


def changes_since(*, endpoint: Endpoint, generation: int) -> list[EndpointEvent]:
    """Events of changes by users after `generation`, oldest first, without the engine's own steps."""
    newer = endpoint.events.filter(generation__gt=generation, actor__isnull=False)
    return list(newer.select_related("actor").order_by("at", "pk"))


def grants(*, endpoint: Endpoint) -> list[Grant]:
    """The endpoint's grants: principals by e-mail, then groups by name."""
    found = endpoint.grants.select_related("user", "group")
    return sorted(found, key=lambda each: (each.user is None, str(each.user or each.group).lower()))
