"""Edit an endpoint: the same form, prefilled. Description, tags and limits change at once, a changed config becomes a pending version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from serving_ui.accounts.models import User
from serving_ui.catalogue.endpoint_settings import Timeouts, parse_gateway_limits, parse_timeouts
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.spec import (
    ConfigSpec,
    RateLimit,
    Tag,
    parse_config,
    parse_description,
    parse_rate_limits,
    parse_tags,
)
from serving_ui.endpoints import commands, governance, queries
from serving_ui.endpoints import limits as limits_of
from serving_ui.endpoints.errors import StaleEdit, UpdateInProgress
from serving_ui.endpoints.lifecycle import Ready, Update
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.permissions import Action
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal
from serving_ui.pages.forms.body import Body, body_of
from serving_ui.pages.forms.draft import Draft, stored_secrets
from serving_ui.pages.forms.endpoint import EndpointForm
from serving_ui.pages.forms.governing import AI_GATEWAY, counted
from serving_ui.pages.http import PageRequest, see_other, the_endpoint
from serving_ui.pages.policy import signed_in
from serving_ui.pages.presenters import changes
from serving_ui.pages.presenters.changes import Change
from serving_ui.pages.views.create import (
    form_context,
    is_step,
    may_be_several,
    redrawn,
    references,
    take_step,
)

Outcome = ConfigVersion.Outcome
T = TypeVar("T")


@dataclass
class Edit:
    """An edit under way: the endpoint, the config version that the form was opened on, and what has been typed."""

    endpoint: Endpoint
    version: ConfigVersion
    draft: Draft
    generation: int


@dataclass(frozen=True)
class Wanted:
    """What the form asks for, checked."""

    config: ConfigSpec
    description: str
    tags: list[Tag]
    rate_limits: list[RateLimit]
    gateway_limits: list[RateLimit]
    timeouts: Timeouts
    fallback: bool


@signed_in
@never_cache
@require_http_methods(["GET", "POST"])
def endpoint_edit(request: PageRequest, name: str) -> HttpResponse:
    """The form; a redraw without JavaScript; or the update: 303, 409 when others were quicker, 422 with what is wrong."""
    endpoint = the_endpoint(request, name, Action.MANAGE)
    if request.method == "GET":
        version = _opened_on(endpoint)
        draft = Draft.of(endpoint, version, request.user)
        return _page(request, Edit(endpoint, version, draft, endpoint.generation))
    edit = _edit(request, endpoint)
    if is_step(request):
        take_step(request, edit.draft)
        return _page(request, edit)
    return _save(request, edit)


@signed_in
@never_cache
@require_POST
@transaction.non_atomic_requests  # it changes nothing
def edit_fields(request: PageRequest, name: str) -> HttpResponse:
    """The part of the form that an answer changes."""
    edit = _edit(request, the_endpoint(request, name, Action.MANAGE))
    part = take_step(request, edit.draft)
    return redrawn(request, _form(request, edit), part)


def _opened_on(endpoint: Endpoint) -> ConfigVersion:
    """What editing starts from: a config that failed, so that it can be put right; else the active one."""
    failed = endpoint.config_update == Update.UPDATE_FAILED
    version = (endpoint.latest if failed else endpoint.active) or endpoint.latest
    if version is None:
        raise Http404  # only while another request is still creating it
    return version


def _edit(request: PageRequest, endpoint: Endpoint) -> Edit:
    post = request.POST
    try:
        number, generation = int(post["based_on"]), int(post["generation"])
    except (KeyError, ValueError):
        raise BadRequest("The form does not say what it was opened on.") from None
    version = queries.versions(endpoint=endpoint).filter(number=number).first()
    if version is None:
        raise BadRequest("The form was opened on a config version that does not exist.")
    draft = Draft.typed(post, request.user, stored_secrets(version))
    draft.values["name"] = endpoint.name
    return Edit(endpoint, version, draft, generation)


def _save(request: PageRequest, edit: Edit) -> HttpResponse:
    body = body_of(edit.draft)
    try:
        wanted = _parsed(body, edit.endpoint)
        changed = _apply(request, edit, wanted)
    except SpecErrors as errors:
        form = _form(request, edit)
        form.show(body.by_input(errors))
        return _page(request, edit, form=form, status=422)
    except StaleEdit as stale:
        fresh = the_endpoint(request, edit.endpoint.name, Action.MANAGE)
        edit.generation = fresh.generation
        versions = queries.versions(endpoint=fresh)
        told = changes.since(edit.version, events=stale.changes, versions=versions)
        return _page(request, edit, refusal=stale, told=told, status=409)
    except UpdateInProgress as refusal:
        return _page(request, edit, refusal=refusal, status=409)
    _tell(request, changed)
    return see_other("endpoint-detail", edit.endpoint.name)


def _parsed(body: Body, endpoint: Endpoint) -> Wanted:
    """Everything at once, so that all problems are told together."""
    problems = list(body.problems)

    def checked(parse: Callable[[object], T], given: object) -> T | None:
        try:
            return parse(given)
        except SpecErrors as errors:
            problems.extend(errors.problems)
            return None

    config = checked(partial(parse_config, several=may_be_several()), body.config)
    description = checked(parse_description, body.description)
    tags = checked(parse_tags, body.tags)
    limits = checked(parse_rate_limits, body.rate_limits)
    gateway_limits = checked(parse_gateway_limits, body.gateway_limits)
    timeouts = checked(parse_timeouts, body.timeouts)
    if (
        problems
        or config is None
        or description is None
        or tags is None
        or limits is None
        or gateway_limits is None
        or timeouts is None
    ):
        raise SpecErrors(problems)
    bound = endpoint.limit_principals
    own = limits_of.bind(limits, before=bound.get("rate_limits", {}))
    problems += limits_of.problems(limits, own)
    others = limits_of.bind(gateway_limits, before=bound.get(AI_GATEWAY, {}))
    problems += limits_of.problems(gateway_limits, others, prefix=(AI_GATEWAY, "rate_limits"))
    if problems:
        raise SpecErrors(problems)
    return Wanted(config, description, tags, limits, gateway_limits, timeouts, body.fallback)


def _apply(request: PageRequest, edit: Edit, wanted: Wanted) -> list[str]:
    """What was changed. The config comes first: it alone can still be refused, and then nothing is saved."""
    name, actor, now = edit.endpoint.name, request.user, clock.now()
    changed = []
    if _is_new(edit, wanted.config):
        saved = commands.update_config(
            name=name, config=wanted.config, generation=edit.generation, actor=actor, now=now
        )
        edit.generation = saved.generation
        changed.append("config")
    return changed + _apply_governance(edit, wanted, actor, now)


def _apply_governance(edit: Edit, wanted: Wanted, actor: User, now: datetime) -> list[str]:
    """What is in force at once, and makes no config version."""
    changed = []
    for name, command, given in _steps(edit.endpoint, wanted):
        saved = command(name=edit.endpoint.name, generation=edit.generation, actor=actor, now=now, **given)
        edit.generation = saved.generation
        changed.append(name)
    return changed


Step = tuple[str, Callable[..., Endpoint], dict[str, Any]]


def _steps(endpoint: Endpoint, wanted: Wanted) -> Iterator[Step]:
    """The commands that make the endpoint what is wanted, with what was changed and what each is given."""
    if _lines(wanted.description) != _lines(endpoint.description):
        yield "description", commands.set_description, {"description": wanted.description}
    tags = sorted((tag.model_dump(mode="json") for tag in wanted.tags), key=lambda tag: str(tag["key"]))
    if tags != endpoint.tags:
        yield "tags", commands.set_tags, {"tags": wanted.tags}
    lapsed = limits_of.lapsed(endpoint)
    own = counted(limit.stored() for limit in wanted.rate_limits)
    if own != counted(endpoint.rate_limits) or "rate_limits" in lapsed:
        yield "rate_limits", commands.set_rate_limits, {"rate_limits": wanted.rate_limits}
    given = counted(limit.stored() for limit in wanted.gateway_limits)
    if given != counted(endpoint.ai_gateway.get("rate_limits", [])) or AI_GATEWAY in lapsed:
        yield "ai_gateway", governance.set_gateway_limits, {"rate_limits": wanted.gateway_limits}
    if wanted.timeouts.stored() != endpoint.timeouts:
        yield "timeouts", governance.set_timeouts, {"timeouts": wanted.timeouts}
    if wanted.fallback != bool(endpoint.ai_gateway.get("fallback_config", {}).get("enabled")):
        yield "fallback", governance.set_fallback, {"enabled": wanted.fallback}


def _is_new(edit: Edit, config: ConfigSpec) -> bool:
    active = edit.endpoint.active
    if active and config == active.config:
        return (
            edit.endpoint.ready == Ready.NOT_READY
        )  # it was revoked: sent again, it means the secrets of now
    # An unchanged config that failed or was cancelled is sent again.
    return config != edit.version.config or edit.version.outcome in (Outcome.FAILED, Outcome.CANCELED)


def _lines(text: str) -> list[str]:
    """However they end: a browser sends other ends than a program."""
    return text.strip().splitlines()


def _tell(request: PageRequest, changed: list[str]) -> None:
    if "config" in changed:
        messages.info(
            request, _("The update has begun. The active configuration answers until the new one is ready.")
        )
    elif changed:
        messages.success(request, _("The changes are in force."))
    else:
        messages.info(request, _("Nothing was changed, so nothing was updated."))


def _form(request: PageRequest, edit: Edit) -> EndpointForm:
    url = reverse("endpoint-edit-fields", args=[edit.endpoint.name])
    return EndpointForm(
        edit.draft,
        fields_url=url,
        editing=True,
        references=references(request),
        may_be_several=may_be_several(),
    )


def _page(
    request: PageRequest,
    edit: Edit,
    *,
    form: EndpointForm | None = None,
    refusal: Refusal | None = None,
    told: Sequence[Change] = (),
    status: int = 200,
) -> HttpResponse:
    context = form_context(request, form or _form(request, edit))
    context |= {"edit": edit, "endpoint": edit.endpoint, "refusal": refusal, "told": told}
    return render(request, "endpoints/form.html", context, status=status)
