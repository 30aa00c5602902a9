"""The buttons of an endpoint's page: cancel, retry, stop, start, take over, delete."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from serving_ui.catalogue.problems import SpecErrors
from serving_ui.endpoints import commands, stopping, takeover
from serving_ui.endpoints.errors import UpdateNotRunning
from serving_ui.endpoints.permissions import Action
from serving_ui.lib import clock
from serving_ui.lib.refusal import Conflict, NotAllowed, NotFound
from serving_ui.pages.http import PageRequest, get_endpoint, see_other
from serving_ui.pages.policy import signed_in
from serving_ui.pages.translation import translate
from serving_ui.pages.views.detail import state_fragment


@signed_in
@require_POST
def cancel(request: PageRequest, name: str) -> HttpResponse:
    """Stops the running update."""
    done = _("The update was canceled. The active configuration stays active.")
    return _run(request, name, commands.cancel_update, level=messages.WARNING, done=done)


@signed_in
@require_POST
def retry(request: PageRequest, name: str) -> HttpResponse:
    """Makes an earlier config pending again: the newest, or the one with the posted `number`."""
    typed = request.POST.get("number", "")
    number = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 9 else None
    command = partial(commands.retry_update, number=number)
    done = _("The update has begun. The active configuration answers until the new one is ready.")
    return _run(request, name, command, level=messages.INFO, done=done)


@signed_in
@require_POST
def take_over(request: PageRequest, name: str) -> HttpResponse:
    """Makes this person the authoriser of the endpoint's secrets that need one."""
    done = _("The secrets that you may read are now sent on your right.")
    return _run(request, name, takeover.take_over, level=messages.SUCCESS, done=done)


@signed_in
@require_POST
def stop(request: PageRequest, name: str) -> HttpResponse:
    """Stops an endpoint with models of one's own."""
    done = _("The endpoint is stopped. It answers no queries until it is started.")
    return _run(request, name, stopping.stop_endpoint, level=messages.WARNING, done=done)


@signed_in
@require_POST
def start(request: PageRequest, name: str) -> HttpResponse:
    """Starts a stopped endpoint."""
    done = _("The endpoint is starting. It answers as soon as it is ready.")
    return _run(request, name, stopping.start_endpoint, level=messages.INFO, done=done)


def _run(
    request: PageRequest, name: str, command: Callable[..., object], *, level: int, done: str
) -> HttpResponse:
    """Runs a command and answers with the endpoint's state; a refusal is a message, because the button may have been stale."""
    get_endpoint(request, name, Action.MANAGE)
    try:
        command(name=name, actor=request.user, now=clock.now())
    except UpdateNotRunning as refusal:
        messages.info(request, str(refusal))
    except (Conflict, NotAllowed, NotFound) as refusal:
        messages.error(request, str(refusal))
    except SpecErrors as errors:
        for problem in errors.problems:
            messages.error(request, translate(problem.message))
    else:
        messages.add_message(request, level, done)
    if not request.htmx:
        return see_other("endpoint-detail", name)
    return state_fragment(request, get_endpoint(request, name))


@signed_in
@require_http_methods(["GET", "POST"])
def delete(request: PageRequest, name: str) -> HttpResponse:
    """Deletes the endpoint once its name was typed. GET is the page without JavaScript; the dialog posts here, too."""
    endpoint = get_endpoint(request, name, Action.MANAGE)
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
