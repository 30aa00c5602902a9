"""The query page. Its request goes through the gateway like that of a program."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import own_models
from serving_ui.endpoints.permissions import Action
from serving_ui.lib.address import public_url
from serving_ui.pages import relay
from serving_ui.pages.http import PageRequest, get_endpoint
from serving_ui.pages.policy import signed_in
from serving_ui.pages.presenters import detail, query_reply, samples, state


@signed_in
@never_cache
@require_http_methods(["GET", "POST"])
async def endpoint_query(request: PageRequest, name: str) -> HttpResponseBase:
    """GET: the page. POST: the reply, streamed if the script asks for it (`X-Reply: stream`), else within the page."""
    if request.method == "GET":
        return await sync_to_async(_page)(request, name)
    endpoint = await sync_to_async(get_endpoint)(request, name, Action.QUERY)
    arguments = {"name": endpoint.name, "user_id": request.user.pk, "body": request.POST.get("request", "")}
    if request.headers.get("X-Reply") == "stream":
        return await relay.stream(**arguments)
    reply = query_reply.present_reply(await relay.send(**arguments))
    return await sync_to_async(_page)(request, name, typed=arguments["body"], reply=reply)


def _page(request: PageRequest, name: str, **reply_context: Any) -> HttpResponse:
    endpoint = get_endpoint(request, name, Action.QUERY)
    task = Task(endpoint.task) if endpoint.task else None
    source = own_models.source_of(endpoint.shown_version)
    example = samples.request_body(task, source)
    base = public_url(request)
    context = {
        "endpoint": endpoint,
        "badge": state.of_endpoint(endpoint),
        "rights": detail.rights(endpoint),
        "task": task,
        "example": example,
        "typed": example,
        "code_samples": samples.code_samples(name=endpoint.name, task=task, base=base, source=source),
        **reply_context,
    }
    return render(request, "endpoints/query.html", context)
