"""What the buttons of an endpoint's page do: cancel, retry, take over, delete. POST only; a refusal is a normal answer."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from serving_ui.catalogue.problems import SpecErrors
from serving_ui.endpoints import commands, takeover
from serving_ui.endpoints.errors import UpdateInProgress, UpdateNotRunning
from serving_ui.endpoints.permissions import Action
from serving_ui.lib import clock
from serving_ui.lib.refusal import NotAllowed, NotFound
from serving_ui.pages.http import PageRequest, see_other, the_endpoint
from serving_ui.pages.policy import signed_in
from serving_ui.pages.translation import translate
from serving_ui.pages.views.detail import state_fragment


@signed_in
@require_POST
def cancel(request: PageRequest, name: str) -> HttpResponse:
    """Stops the running update. A stale button is no one's fault: the page says how things stand."""
    the_endpoint(request, name, Action.MANAGE)
    try:
        commands.cancel_update(name=name, actor=request.user, now=clock.now())
    except UpdateNotRunning as refusal:
        messages.info(request, str(refusal))
    else:
        messages.warning(request, _("The update was canceled. What was active before stays active."))
    return _state(request, name)


@signed_in
@require_POST
def retry(request: PageRequest, name: str) -> HttpResponse:
    """Makes an earlier config pending again: the newest, or the one whose number was given."""
    the_endpoint(request, name, Action.MANAGE)
    given = request.POST.get("number", "")
    number = int(given) if given.isascii() and given.isdigit() and len(given) < 9 else None
    try:
        commands.retry_update(name=name, number=number, actor=request.user, now=clock.now())
    except (UpdateInProgress, NotFound) as refusal:
        messages.error(request, str(refusal))
    except SpecErrors as errors:
        for problem in errors.problems:
            messages.error(request, translate(problem.message))
    else:
        messages.info(
            request, _("The update has begun. The active configuration answers until the new one is ready.")
        )
    return _state(request, name)


@signed_in
@require_POST
def take_over(request: PageRequest, name: str) -> HttpResponse:
    """Has the endpoint's secrets sent on the right of the person who presses the button."""
    the_endpoint(request, name, Action.MANAGE)
    try:
        takeover.take_over(name=name, actor=request.user, now=clock.now())
    except NotAllowed as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("The secrets that you may read are sent on your right from now on."))
    return _state(request, name)


def _state(request: PageRequest, name: str) -> HttpResponse:
    if not request.htmx:
        return see_other("endpoint-detail", name)
    return state_fragment(request, the_endpoint(request, name))


@signed_in
@require_http_methods(["GET", "POST"])
def delete(request: PageRequest, name: str) -> HttpResponse:
    """Asks for the name to be typed, then deletes. The dialog on the endpoint's page posts here, too."""
    endpoint = the_endpoint(request, name, Action.MANAGE)
    if request.method == "GET":
        return render(request, "endpoints/delete.html", {"endpoint": endpoint})
    if request.POST.get("typed_name", "").strip() != endpoint.name:
        problem = _("That is not the endpoint's name. Type %(name)s to delete it.") % {"name": endpoint.name}
        return render(
            request, "endpoints/delete.html", {"endpoint": endpoint, "problem": problem}, status=422
        )
    commands.delete_endpoint(name=name, actor=request.user, now=clock.now())
    messages.success(request, _("%(name)s was deleted.") % {"name": name})
    return see_other("endpoint-list")
