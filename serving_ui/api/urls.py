"""The routes of the API. To add one, write a view with the decorator of its module's router. The router of a new module is added to ROUTERS."""

from __future__ import annotations

from django.db import transaction
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from serving_ui.api import errors
from serving_ui.api.operation import Operation
from serving_ui.api.routing import patterns
from serving_ui.api.scim import views as scim
from serving_ui.api.views import (
    endpoints,
    governance,
    inference,
    mlflow_gateway,
    model_hosts,
    observation,
    permissions,
    registered_models,
    secrets,
    server,
    tokens,
)
from serving_ui.lib.policy import public

# In the order of the document.
ROUTERS = (
    endpoints.router,
    governance.router,
    observation.router,
    server.endpoint_router,
    inference.router,
    mlflow_gateway.router,
    registered_models.router,
    permissions.router,
    secrets.router,
    model_hosts.router,
    tokens.router,
    scim.router,
    server.router,
)
OPERATIONS: tuple[Operation, ...] = tuple(each for router in ROUTERS for each in router.operations)
urlpatterns = [
    *patterns(ROUTERS),
    # Other paths below /api/2.0/ are answered in JSON as well.
    re_path("", csrf_exempt(transaction.non_atomic_requests(public(errors.not_found)))),
]
