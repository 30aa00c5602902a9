"""When an endpoint with models of one's own stops being ready because of what its cluster says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from serving_ui.accounts.models import User
from serving_ui.catalogue.registered_model import NewModelVersion
from serving_ui.catalogue.spec import parse_endpoint
from serving_ui.endpoints import commands
from serving_ui.endpoints.cluster import UNHEALTHY_AFTER, check_cluster
from serving_ui.endpoints.models import ClusterState, Endpoint
from serving_ui.endpoints.transitions import succeed
from serving_ui.lib import clock
from serving_ui.registered_models.commands import register

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_time_of_loading_does_not_count_against_a_version_that_became_active(admin: User, settings: Any):
    settings.RAY_ADDRESS = "http://127.0.0.1:9"  # nothing answers there
    model = {"name": "iris", "kind": "deployment", "location": "team.models:Iris"}
    with transaction.atomic():
        register(new=NewModelVersion.model_validate(model), actor=admin, now=clock.now())
    entity = {"entity_name": "iris", "entity_version": "1"}
    spec = parse_endpoint({"name": "iris", "config": {"served_entities": [entity]}})
    made, now = commands.create_endpoint(spec=spec, actor=admin, now=clock.now()), clock.now()
    version = made.pending
    assert version
    loading = {
        "progress": "DEPLOYING",
        "message": "The model is loading.",
        "is_scaled_to_zero": False,
        "failed_since": (now - timedelta(minutes=5)).timestamp(),
    }
    ClusterState.objects.create(pk=1, applications={version.deployments["iris-1"]["application"]: loading})
    succeed(made, version, now=now)
    check_cluster(now=now + timedelta(seconds=1))
    assert Endpoint.objects.get().ready == "READY"
    check_cluster(now=now + timedelta(seconds=UNHEALTHY_AFTER + 1))
    assert Endpoint.objects.get().ready == "NOT_READY"
