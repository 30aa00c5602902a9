"""The page Model hosts, for admins: list, add, edit, delete, check now."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.registry import offered
from serving_ui.catalogue.translatable import TranslatableText
from serving_ui.lib import clock
from serving_ui.lib.policy import admin
from serving_ui.lib.refusal import AlreadyExists
from serving_ui.model_hosts import commands, local_servers, queries
from serving_ui.model_hosts.host_spec import HostChanges, HostSpec
from serving_ui.model_hosts.models import HostKind, ModelHost
from serving_ui.pages.forms.model_host import ModelHostForm, provider_of
from serving_ui.pages.http import PageRequest, fragment, see_other
from serving_ui.pages.paging import list_page
from serving_ui.pages.presenters import local_models
from serving_ui.pages.presenters.state import BAD, GOOD, STILL, Badge

ROWS = 25  # of a page
ADDED = (HostKind.OPENAI_COMPATIBLE, HostKind.DATABRICKS, HostKind.PROVIDER)


@admin
@never_cache
@require_GET
def host_list(request: PageRequest) -> HttpResponse:
    """The hosts with their state. For htmx the list alone, with the card of the models on this machine."""
    if request.htmx and not request.htmx.history_restore_request:
        response = hosts_part(request)
    else:
        response = render(request, "models/hosts.html", _hosts(request))
    patch_vary_headers(response, ["HX-Request"])
    return response


def hosts_part(request: PageRequest) -> HttpResponse:
    """The list alone, for htmx."""
    return fragment(request, "models/hosts.html#hosts", _hosts(request))


def _hosts(request: PageRequest) -> dict[str, Any]:
    rows, at = queries.list_hosts(actor=request.user), reverse("model-hosts")
    found = list_page(request, rows, order=("name",), key=lambda row: (row.name,), size=ROWS, at=at)
    hosts = [{"host": host, "badge": _badge(host), "kind": _kind(host.kind)} for host in found.rows]
    shown = f"{at}?{request.GET.urlencode()}" if request.GET else at
    return {"hosts": hosts, "list_page": found, "local": local_models.card(), "address": shown}


@admin
@never_cache
@require_GET
def host_servers(request: PageRequest) -> HttpResponse:
    """Servers on this machine, each with a button that submits the form of `host_add`. Takes at most local_servers.SECONDS."""
    ports = ", ".join(f"{label} ({port})" for label, port in local_servers.USUAL_PORTS.items())
    found = local_servers.find_servers(actor=request.user)
    return render(request, "models/servers.html", {"servers": found, "ports": ports})


@admin
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def host_add(request: PageRequest) -> HttpResponse:
    """The form of the kind that the address names. POST: 303, or 422 with the problems."""
    kind, provider = request.GET.get("kind", HostKind.OPENAI_COMPATIBLE), request.GET.get("provider", "")
    if kind not in ADDED:
        raise BadRequest("There is no such kind.")
    chosen = provider_of(provider) if kind == HostKind.PROVIDER else None
    form = ModelHostForm(request.POST.dict(), kind=kind, provider=chosen)
    if request.method == "GET" or "_redraw" in request.POST or (kind == HostKind.PROVIDER and not chosen):
        return _form_page(request, form)
    try:
        host = commands.create_host(spec=HostSpec.parsed(form.body()), actor=request.user, now=clock.now())
    except AlreadyExists as refusal:
        form.add_problems(SpecErrors([Problem(("name",), TranslatableText(str(refusal)))]))
        return _form_page(request, form, status=422)
    except SpecErrors as errors:
        form.add_problems(errors)
        return _form_page(request, form, status=422)
    messages.success(
        request,
        _("%(name)s was added. Its models appear within seconds, if it answers.") % {"name": host.name},
    )
    return see_other("model-hosts")


@admin
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def host_edit(request: PageRequest, name: str) -> HttpResponse:
    """The form, prefilled without values of secrets. POST: 303, or 422 with the problems."""
    host = queries.get_host(name=name, actor=request.user)
    chosen = provider_of(host.external.provider) if host.kind == HostKind.PROVIDER else None
    form = ModelHostForm(request.POST.dict(), kind=host.kind, provider=chosen, host=host)
    if request.method == "GET" or "_redraw" in request.POST:
        return _form_page(request, form)
    try:
        changes = HostChanges.parsed(form.body())
        commands.update_host(name=name, changes=changes, actor=request.user, now=clock.now())
    except SpecErrors as errors:
        form.add_problems(errors)
        return _form_page(request, form, status=422)
    messages.success(request, _("%(name)s was changed. It is checked within seconds.") % {"name": name})
    return see_other("model-hosts")


@admin
@require_http_methods(["GET", "POST"])
def host_delete(request: PageRequest, name: str) -> HttpResponse:
    """GET asks; POST deletes the host with the endpoints of its models."""
    host = queries.get_host(name=name, actor=request.user)
    if request.method == "GET":
        return render(request, "models/host_delete.html", {"host": host})
    commands.delete_host(name=name, actor=request.user, now=clock.now())
    messages.success(request, _("%(name)s was deleted.") % {"name": name})
    return see_other("model-hosts")


@admin
@require_POST
def host_check(request: PageRequest, name: str) -> HttpResponse:
    """Makes the host due. The worker checks it within seconds."""
    commands.check_now(name=name, actor=request.user, now=clock.now())
    messages.info(
        request,
        _("%(name)s is checked within seconds. Open this page again to see the result.") % {"name": name},
    )
    return see_other("model-hosts")


def _form_page(request: PageRequest, form: ModelHostForm, *, status: int = 200) -> HttpResponse:
    fields = [form[name] for name in form.fields]
    context = {
        "form": form,
        "fields": fields,
        "host": form.host,
        "kind": form.kind,
        "kinds": [(kind.value, _kind(kind)) for kind in ADDED],
        "needs_provider": form.kind == HostKind.PROVIDER and form.provider is None,
        "providers": offered(),
    }
    return render(request, "models/host_form.html", context, status=status)


def _kind(kind: str) -> str:
    words = {
        HostKind.OPENAI_COMPATIBLE: _("OpenAI-compatible server"),
        HostKind.DATABRICKS: _("Databricks workspace"),
        HostKind.PROVIDER: _("Account at a provider"),
        HostKind.LOCAL: _("On this machine"),
    }
    return words[HostKind(kind)]


def _badge(host: ModelHost) -> Badge:
    badges = {
        "ONLINE": (GOOD, _("Online")),
        "UNREACHABLE": (BAD, _("Not reachable")),
        "UNCHECKED": (STILL, _("Not checked")),
    }
    (icon, tone), word = badges[host.health]
    return Badge(icon, tone, word)
