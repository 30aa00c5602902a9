"""Edit an endpoint: the form of its creation, prefilled. Saving it is one command, `commands.edit_endpoint`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from serving_ui.catalogue.endpoint_settings import parse_gateway_limits
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.spec import ConfigSpec, RateLimit, parse_config, parse_field
from serving_ui.endpoints import commands, queries
from serving_ui.endpoints import limits as limits_of
from serving_ui.endpoints.edits import EndpointChanges, changed_parts
from serving_ui.endpoints.errors import ConcurrentChange, StaleEdit, UpdateInProgress
from serving_ui.endpoints.lifecycle import Ready, Update
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.endpoints.permissions import Action
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal
from serving_ui.pages.forms.body import ApiBody, body_of
from serving_ui.pages.forms.draft import Draft, stored_secrets
from serving_ui.pages.forms.endpoint import EndpointForm
from serving_ui.pages.forms.rate_limits import AI_GATEWAY, limit_set
from serving_ui.pages.http import PageRequest, get_endpoint, see_other
from serving_ui.pages.policy import signed_in
from serving_ui.pages.presenters import changes as presenter
from serving_ui.pages.presenters.changes import Change
from serving_ui.pages.views.create import (
    apply_form_action,
    form_context,
    is_form_action,
    may_be_several,
    redrawn,
    references,
)

Outcome = ConfigVersion.Outcome
T = TypeVar("T")
_ENDED = (Outcome.FAILED, Outcome.CANCELED)
WITHOUT_CONFIG = 0  # stands for the number of a config version


@dataclass
class Edit:
    """A submitted or opened edit form: the endpoint, the config version and generation that it was opened on, and its draft."""

    endpoint: Endpoint
    version: ConfigVersion | None
    """None for an endpoint without a config."""
    draft: Draft
    generation: int


@signed_in
@never_cache
@require_http_methods(["GET", "POST"])
def endpoint_edit(request: PageRequest, name: str) -> HttpResponse:
    """GET: the form. POST: a redraw without JavaScript, or the edit: 303, 409 for a conflict with others, 422 with the problems."""
    endpoint = get_endpoint(request, name, Action.MANAGE)
    if request.method == "GET":
        version = _opened_on(endpoint)
        draft = Draft.from_endpoint(endpoint, version, request.user)
        return _page(request, Edit(endpoint, version, draft, endpoint.generation))
    edit = _edit(request, endpoint)
    if is_form_action(request):
        apply_form_action(request, edit.draft)
        return _page(request, edit)
    return _save(request, edit)


@signed_in
@never_cache
@require_POST
@transaction.non_atomic_requests  # it changes nothing
def edit_fields(request: PageRequest, name: str) -> HttpResponse:
    """The part of the form that depends on the changed input."""
    edit = _edit(request, get_endpoint(request, name, Action.MANAGE))
    part = apply_form_action(request, edit.draft)
    return redrawn(request, _form(request, edit), part)


def _opened_on(endpoint: Endpoint) -> ConfigVersion | None:
    """The version to prefill: the newest if its update failed, so that it can be corrected; else the active one.

    None for a foundation model: its config is no part of the form.
    """
    if endpoint.kind == Kind.FOUNDATION_MODEL:
        return None
    failed = endpoint.config_update == Update.UPDATE_FAILED
    return (endpoint.latest if failed else endpoint.active) or endpoint.latest


def _edit(request: PageRequest, endpoint: Endpoint) -> Edit:
    post = request.POST
    try:
        number, generation = int(post["based_on"]), int(post["generation"])
    except (KeyError, ValueError):
        raise BadRequest("The form does not say what it was opened on.") from None
    version = queries.versions(endpoint=endpoint).filter(number=number).first()
    if version is None and number != WITHOUT_CONFIG:
        raise BadRequest("The form was opened on a config version that does not exist.")
    draft = Draft.from_form(post, request.user, stored_secrets(version))
    draft.values["name"] = endpoint.name
    return Edit(endpoint, version, draft, generation)


def _save(request: PageRequest, edit: Edit) -> HttpResponse:
    body = body_of(edit.draft)
    try:
        changes = _changes(edit, body)
        if not changes.is_empty:
            commands.edit_endpoint(
                name=edit.endpoint.name,
                changes=changes,
                generation=edit.generation,
                actor=request.user,
                now=clock.now(),
            )
    except SpecErrors as errors:
        form = _form(request, edit)
        form.add_problems(body.by_input(errors))
        return _page(request, edit, form=form, status=422)
    except StaleEdit as stale:
        fresh = get_endpoint(request, edit.endpoint.name, Action.MANAGE)
        edit.generation = fresh.generation
        versions = queries.versions(endpoint=fresh)
        changes_by_others = presenter.since(edit.version, events=stale.changes, versions=versions)
        return _page(request, edit, refusal=stale, changes_by_others=changes_by_others, status=409)
    except (UpdateInProgress, ConcurrentChange) as refusal:
        return _page(request, edit, refusal=refusal, status=409)
    _add_message(request, edit.endpoint, changes)
    return see_other("endpoint-detail", edit.endpoint.name)


def _changes(edit: Edit, body: ApiBody) -> EndpointChanges:
    """The differences between the form and the endpoint. Raises SpecErrors with the problems of all parts together."""
    problems = list(body.problems)

    def checked(parse: Callable[[object], T], typed: object) -> T | None:
        try:
            return parse(typed)
        except SpecErrors as errors:
            problems.extend(errors.problems)
            return None

    config = None
    if edit.version or edit.draft.provider:
        config = checked(partial(parse_config, several=may_be_several()), body.config)
    description = checked(partial(parse_field, "description"), body.description)
    rate_limits = checked(partial(parse_field, "rate_limits"), body.rate_limits)
    gateway_limits = checked(parse_gateway_limits, body.gateway_limits)
    others = {"tags": body.tags, **body.settings}
    parts = {name: checked(partial(parse_field, name), typed) for name, typed in others.items()}
    if problems:
        raise SpecErrors(problems)
    endpoint = edit.endpoint
    lapsed = limits_of.lapsed(endpoint)
    own, of_gateway = endpoint.rate_limits, endpoint.ai_gateway.get("rate_limits", [])
    fallback = bool(endpoint.ai_gateway.get("fallback_config", {}).get("enabled"))
    return EndpointChanges(
        config=config if config and _is_new(edit, config) else None,
        description=None if _lines(description or "") == _lines(endpoint.description) else description,
        rate_limits=rate_limits if "rate_limits" in lapsed or _differ(rate_limits, own) else None,
        ai_gateway_rate_limits=(
            gateway_limits if AI_GATEWAY in lapsed or _differ(gateway_limits, of_gateway) else None
        ),
        fallback=None if body.fallback == fallback else body.fallback,
        **changed_parts(endpoint, parts),
    )


def _differ(typed: Sequence[RateLimit] | None, stored: Sequence[Mapping[str, Any]]) -> bool:
    return limit_set(limit.stored() for limit in typed or ()) != limit_set(stored)


def _is_new(edit: Edit, config: ConfigSpec) -> bool:
    active = edit.endpoint.active
    if edit.version is None:
        return True
    if config.kind is Kind.OWN_MODEL:  # a typed config has no task yet, and no secret value
        return config.public() != edit.version.config.public() or edit.version.outcome in _ENDED
    if active and config == active.config:
        # Submitted again, the config of a revoked endpoint refers to the secrets that have these names now.
        return edit.endpoint.ready == Ready.NOT_READY
    # An unchanged config that failed or was cancelled is sent again.
    return config != edit.version.config or edit.version.outcome in _ENDED


def _lines(text: str) -> list[str]:
    """Lines without their ends: a browser sends CRLF, a program LF."""
    return text.strip().splitlines()


def _update_begun(endpoint: Endpoint) -> str:
    if endpoint.active:
        return _("The update has begun. The active configuration answers until the new one is ready.")
    return _("The update has begun. The endpoint answers as soon as its configuration is ready.")


def _add_message(request: PageRequest, endpoint: Endpoint, changes: EndpointChanges) -> None:
    if changes.config:
        messages.info(request, _update_begun(endpoint))
    elif changes.is_empty:
        messages.info(request, _("Nothing was changed, so nothing was updated."))
    else:
        messages.success(request, _("The changes are in force."))


def _form(request: PageRequest, edit: Edit) -> EndpointForm:
    url = reverse("endpoint-edit-fields", args=[edit.endpoint.name])
    return EndpointForm(
        edit.draft,
        fields_url=url,
        editing=True,
        kind=edit.endpoint.kind,
        references=references(request),
        may_be_several=may_be_several(),
    )


def _page(
    request: PageRequest,
    edit: Edit,
    *,
    form: EndpointForm | None = None,
    refusal: Refusal | None = None,
    changes_by_others: Sequence[Change] = (),
    status: int = 200,
) -> HttpResponse:
    context = form_context(request, form or _form(request, edit))
    context |= {
        "edit": edit,
        "endpoint": edit.endpoint,
        "refusal": refusal,
        "changes_by_others": changes_by_others,
    }
    return render(request, "endpoints/form.html", context, status=status)
