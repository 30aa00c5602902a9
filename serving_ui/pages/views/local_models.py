"""The buttons Start and Stop of the models on this machine."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from serving_ui.lib.policy import admin
from serving_ui.lib.refusal import NotAllowed
from serving_ui.model_hosts import local_models
from serving_ui.pages.http import PageRequest, see_other
from serving_ui.pages.views.listing import models_part
from serving_ui.pages.views.model_hosts import hosts_part


@admin
@require_POST
def start(request: PageRequest) -> HttpResponse:
    """Makes `up` install and start the models, or try again."""
    try:
        local_models.start_local_models(actor=request.user)
    except NotAllowed as refusal:
        messages.error(request, str(refusal))
    return _answer(request)


@admin
@require_POST
def stop(request: PageRequest) -> HttpResponse:
    """Makes `up` stop the models."""
    local_models.stop_local_models(actor=request.user)
    messages.warning(request, _("The models on this machine are stopped. Their endpoints go within seconds."))
    return _answer(request)


def _answer(request: PageRequest) -> HttpResponse:
    """The part of the page that has the button, or the whole page without JavaScript."""
    is_list = request.POST.get("page") == "list"
    if request.htmx:
        return models_part(request) if is_list else hosts_part(request)
    return see_other("endpoint-list" if is_list else "model-hosts")
