"""The addresses of the API, below /api/2.0/. What is none of them is answered in JSON, too."""

from __future__ import annotations

from django.db import transaction
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from serving_ui.api import errors, neighbours, serving
from serving_ui.api.description import views as description
from serving_ui.api.views import mlflow_gateway
from serving_ui.lib.policy import public

urlpatterns = [
    *description.urlpatterns,
    *serving.urlpatterns,
    *mlflow_gateway.urlpatterns,
    *neighbours.urlpatterns,
    re_path("", csrf_exempt(transaction.non_atomic_requests(public(errors.not_found)))),
]
