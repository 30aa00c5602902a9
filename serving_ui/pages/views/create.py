"""Create serving endpoint: the page, its redraws and the check of a name. A redraw changes no data and shows no errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from serving_ui.catalogue.own_model import MAX_MODEL_NAME_LENGTH, MAX_VERSION_LENGTH
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.spec import parse_endpoint
from serving_ui.endpoints import commands, queries
from serving_ui.endpoints.models import Workspace
from serving_ui.lib import clock
from serving_ui.lib.address import public_url
from serving_ui.pages.forms.body import body_of
from serving_ui.pages.forms.draft import MAX_TAGS, Draft
from serving_ui.pages.forms.endpoint import EndpointForm
from serving_ui.pages.forms.entities import MAX_ENTITIES
from serving_ui.pages.forms.rate_limits import MAX_LIMIT_ROWS, LimitRow
from serving_ui.pages.http import PageRequest, see_other
from serving_ui.pages.policy import signed_in
from serving_ui.vault import queries as vault

MAX_SUGGESTIONS = 200
_NO_ROW = 10_000  # larger than the number of rows of any list
FORM_ACTIONS = (
    "_select",
    "_confirm",
    "_redraw",
    "_add_tag",
    "_remove_tag",
    "_add_limit",
    "_remove_limit",
    "_add_entity",
    "_open_entity",
    "_remove_entity",
    "_forget",
)


@signed_in
@never_cache
@require_http_methods(["GET", "POST"])
def endpoint_create(request: PageRequest) -> HttpResponse:
    """GET: the empty form, or with `?model` that of this model. POST: a redraw without JavaScript, or the creation: 303 to the endpoint, 422 with the problems."""
    draft = Draft.from_form(request.POST, request.user)
    if request.method == "GET" and (model := request.GET.get("model", "").strip()):
        version = request.GET.get("version", "")
        draft.choose_own(model[:MAX_MODEL_NAME_LENGTH], version[:MAX_VERSION_LENGTH])
    if request.method == "GET" or is_form_action(request):
        apply_form_action(request, draft)
        return _page(request, create_form(request, draft))
    return _create(request, draft)


def _create(request: PageRequest, draft: Draft) -> HttpResponse:
    body = body_of(draft)
    try:
        spec = parse_endpoint(body.create_request(), several=may_be_several())
        if body.problems:
            raise SpecErrors(body.problems)
        endpoint = commands.create_endpoint(spec=spec, actor=request.user, now=clock.now())
    except SpecErrors as errors:
        found = body.by_input(errors)
        taken = queries.name_problem(name=body.name, actor=request.user)
        if taken and all(name != "name" for name, _sentence in found):
            found.insert(0, ("name", taken))
        form = create_form(request, draft)
        form.add_problems(found)
        return _page(request, form, status=422)
    messages.info(request, _("%(name)s is being created.") % {"name": endpoint.name})
    return see_other("endpoint-detail", endpoint.name)


@signed_in
@never_cache
@require_POST
@transaction.non_atomic_requests  # it changes nothing
def endpoint_fields(request: PageRequest) -> HttpResponse:
    """The part of the form that depends on the changed input, with what has been typed."""
    draft = Draft.from_form(request.POST, request.user)
    part = apply_form_action(request, draft)
    return redrawn(request, create_form(request, draft), part)


@signed_in
@require_GET
def check_name(request: PageRequest) -> HttpResponse:
    """The problem of a name, shown below its input. An empty name has none yet."""
    name = request.GET.get("name", "").strip()
    problem = queries.name_problem(name=name, actor=request.user) if name else None
    return render(request, "endpoints/form.html#name-problem", {"sentences": [problem] if problem else []})


def create_form(request: PageRequest, draft: Draft) -> EndpointForm:
    """The form of a new endpoint, filled from a draft."""
    return EndpointForm(
        draft,
        fields_url=reverse("endpoint-fields"),
        references=references(request),
        may_be_several=may_be_several(),
    )


def may_be_several() -> bool:
    """Whether the workspace allows several external models in one endpoint."""
    return Workspace.here().several_external_models


def references(request: PageRequest) -> list[str]:
    """The secret references that the person may use, as suggestions."""
    found = vault.references(actor=request.user, limit=MAX_SUGGESTIONS)
    return ["{{secrets/" + f"{scope}/{key}" + "}}" for scope, key in found]


def is_form_action(request: HttpRequest) -> bool:
    """Whether the pressed button redraws the form instead of creating or saving the endpoint."""
    return any(action in request.POST for action in FORM_ACTIONS)


def apply_form_action(request: HttpRequest, draft: Draft) -> str:
    """Applies the pressed button or changed choice to the draft; returns the name of the part to redraw."""
    post = request.POST
    if "_confirm" in post:
        draft.choose(post.get("dialog_provider", ""))
        return "entities"
    if part := _apply_row_action(post, draft):
        return part
    if "_forget" in post:
        draft.discard_key(post["_forget"])
        return "entity"
    is_other_model = request.headers.get("HX-Target") == "entity"
    draft.complete_model(is_other_model=is_other_model)
    return "entity" if is_other_model else "dependent-fields"


def _apply_row_action(post: Mapping[str, str], draft: Draft) -> str:
    """Adds, opens or removes a row; returns the part to redraw, or "" if no button of a row was pressed."""
    if "_add_tag" in post and len(draft.tags) < MAX_TAGS:
        draft.tags.append(("", ""))
        return "tags"
    if "_add_limit" in post and len(draft.limits) < MAX_LIMIT_ROWS:
        draft.limits.append(LimitRow())
        draft.added_limit = True
        return "limits"
    if "_add_entity" in post and draft.entities.count < MAX_ENTITIES:
        draft.show_entity(draft.entities.add(draft.open_values))
        return "entities"
    rows: Mapping[str, tuple[str, int]] = {
        "_remove_tag": ("tags", len(draft.tags)),
        "_remove_limit": ("limits", len(draft.limits)),
        "_open_entity": ("entities", draft.entities.count),
        "_remove_entity": ("entities", draft.entities.count),
    }
    for action, (part, count) in rows.items():
        if action in post:
            row = _row_number(post[action])
            if row < count and not (action == "_remove_entity" and count == 1):
                _change_row(draft, action, row)
            return part
    return ""


def _change_row(draft: Draft, action: str, row: int) -> None:
    match action:
        case "_remove_tag":
            del draft.tags[row]
        case "_remove_limit":
            del draft.limits[row]
        case "_open_entity" if row != draft.entities.open_index:
            draft.show_entity(draft.entities.open(row, draft.open_values))
        case "_remove_entity":
            draft.show_entity(draft.entities.remove(row, draft.open_values))


def _row_number(text: str) -> int:
    """The row number in a button's value, or `_NO_ROW` if it is not a number."""
    return int(text[:4]) if text.isascii() and text.isdigit() else _NO_ROW


def redrawn(request: PageRequest, form: EndpointForm, part: str) -> HttpResponse:
    """The named part of the form for htmx, with the summary and suggestions out of band where they may have changed."""
    context = form_context(request, form)
    template = "form_rows" if part in ("entities", "limits") else "form_parts"
    html = render(request, f"endpoints/{template}.html#{part}", context)
    if part not in ("tags", "limits"):
        html.content += render(
            request, "endpoints/form_summary.html", {**context, "out_of_band": True}
        ).content
    if part == "dependent-fields":
        html.content += render(
            request, "endpoints/form_parts.html#suggestions", {**context, "out_of_band": True}
        ).content
    return html


def form_context(request: HttpRequest, form: EndpointForm) -> dict[str, Any]:
    """What the form's template needs beside the form."""
    return {
        "form": form,
        "draft": form.draft,
        "fields_url": form.fields_url,
        "dialog_open": "_select" in request.POST,
        "added_tag": "_add_tag" in request.POST,
        "removed_limit": "_remove_limit" in request.POST,
        "moved_entity": any(f"_{action}_entity" in request.POST for action in ("add", "open", "remove")),
        "host": f"{public_url(request)}/serving-endpoints/",
        "sandbox_base": f"{settings.PROVIDER_ADDRESSES['sandbox']}/sandbox/v1",
    }


def _page(request: PageRequest, form: EndpointForm, status: int = 200) -> HttpResponse:
    return render(request, "endpoints/form.html", form_context(request, form), status=status)
