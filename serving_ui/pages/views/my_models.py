"""The pages of models of one's own: those that are registered here, those of the MLflow registry, register and delete."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from serving_ui.backends.mlflow_registry import RegistryUnavailable
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.registered_model import NewModelVersion
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import TranslatableText
from serving_ui.endpoints import cluster
from serving_ui.lib import clock
from serving_ui.lib.policy import admin
from serving_ui.lib.refusal import AlreadyExists
from serving_ui.pages.forms.registered_model import RegisterForm, kind_label
from serving_ui.pages.http import PageRequest, see_other
from serving_ui.pages.paging import list_page
from serving_ui.pages.policy import signed_in
from serving_ui.pages.translation import translate
from serving_ui.registered_models import choices, commands, queries
from serving_ui.registered_models.models import RegisteredModel

ROWS = 25  # of a page


@signed_in
@never_cache
@require_GET
def my_models(request: PageRequest) -> HttpResponse:
    """The versions that are registered here, by name and the newest first; with `?registry` the names in the MLflow registry."""
    has_registry = queries.mlflow() is not None
    context: dict[str, Any] = {"has_registry": has_registry, "has_cluster": cluster.is_configured()}
    if has_registry and "registry" in request.GET:
        return render(request, "models/registry.html", {**context, **_registry()})
    found = list_page(
        request,
        queries.all_versions(),
        order=("name", "-created_at", "-pk"),
        key=lambda row: (row.name, row.created_at, row.pk),
        size=ROWS,
        at=reverse("my-models"),
    )
    context |= {"models": [_row(each) for each in found.rows], "list_page": found}
    return render(request, "models/mine.html", context)


@admin
@never_cache
@require_http_methods(["GET", "POST"])
def model_register(request: PageRequest) -> HttpResponse:
    """The form. POST: 303, or 422 with the problems."""
    form = RegisterForm(request.POST.dict())
    if request.method == "GET":
        return render(request, "models/register.html", {"form": form})
    try:
        new = NewModelVersion.parsed(form.body())
        made = commands.register(new=new, actor=request.user, now=clock.now())
    except AlreadyExists as refusal:
        form.add_problems(SpecErrors([Problem(("version",), TranslatableText(str(refusal)))]))
    except SpecErrors as errors:
        form.add_problems(errors)
    else:
        messages.success(request, _("%(model)s was registered.") % {"model": made})
        return see_other("my-models")
    return render(request, "models/register.html", {"form": form}, status=422)


@admin
@require_http_methods(["GET", "POST"])
def model_delete(request: PageRequest, name: str, version: str) -> HttpResponse:
    """GET shows what a deletion means; POST deletes the version."""
    model = queries.get(name=name, version=version)
    if request.method == "GET":
        return render(request, "models/delete.html", {"model": model})
    commands.delete(name=name, version=version, actor=request.user)
    messages.success(request, _("%(model)s was deleted.") % {"model": model})
    return see_other("my-models")


def _row(model: RegisteredModel) -> dict[str, Any]:
    task = translate(Task(model.task).label) if model.task else ""
    return {"model": model, "engine": kind_label(model.kind), "task": task}


def _registry() -> dict[str, Any]:
    registry = queries.mlflow()
    try:
        names = registry.model_names(limit=choices.MAX_NAMES) if registry else []
    except RegistryUnavailable as problem:
        return {"names": [], "problem": str(problem)}
    return {"names": names, "is_cut": len(names) == choices.MAX_NAMES}
