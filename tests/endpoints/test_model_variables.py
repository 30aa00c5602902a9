"""Environment variables of models of one's own: those that decide which code runs are set by admins only."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from serving_ui.accounts.models import User
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.registered_model import NewModelVersion
from serving_ui.catalogue.spec import parse_config, parse_endpoint
from serving_ui.endpoints import commands
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.endpoints.transitions import succeed
from serving_ui.lib import clock
from serving_ui.registered_models.commands import register

pytestmark = pytest.mark.django_db(transaction=True)
DECIDING = (
    "HTTPS_PROXY",
    "http_proxy",
    "LD_PRELOAD",
    "PYTHONPATH",
    "MLFLOW_TRACKING_URI",
    "AWS_ENDPOINT_URL_S3",
    "PATH",
)


@pytest.fixture(autouse=True)
def cluster(settings: Any, admin: User) -> None:
    """A server with a Ray cluster, which does not answer, and a model."""
    settings.RAY_ADDRESS = "http://127.0.0.1:9"
    model = {"name": "iris", "kind": "deployment", "location": "team.models:Iris"}
    with transaction.atomic():
        register(new=NewModelVersion.model_validate(model), actor=admin, now=clock.now())


def config(**variables: str) -> dict[str, Any]:
    entity = {"entity_name": "iris", "entity_version": "1", "environment_vars": variables}
    return {"served_entities": [entity]}


def create(actor: User, **variables: str) -> Endpoint:
    spec = parse_endpoint({"name": "iris", "config": config(**variables)})
    return commands.create_endpoint(spec=spec, actor=actor, now=clock.now())


def update(actor: User, **variables: str) -> None:
    changes = EndpointChanges(config=parse_config(config(**variables)))
    generation = Endpoint.objects.get(name="iris").generation
    commands.edit_endpoint(name="iris", changes=changes, generation=generation, actor=actor, now=clock.now())


@pytest.mark.parametrize("name", DECIDING)
def test_only_an_admin_sets_what_decides_which_code_runs(owner: User, admin: User, name: str):
    with pytest.raises(SpecErrors) as refused:
        create(owner, **{name: "x"})
    (problem,) = refused.value.problems
    assert problem.path == ("config", "served_entities", 0, "environment_vars", name)
    assert "Only an admin" in str(problem.message)
    assert not Endpoint.objects.filter(name="iris").exists()
    create(admin, **{name: "x"})


def test_everybody_sets_other_variables(owner: User):
    create(owner, MODE="fast", MLFLOW_TRACKING_USERNAME="reader", OMP_NUM_THREADS="1", HF_TOKEN="t")


def test_what_an_admin_has_set_stays_when_others_change_the_endpoint(owner: User, admin: User):
    create(admin, HTTPS_PROXY="http://proxy")
    grant(name="iris", to=owner.email, level=Level.CAN_MANAGE, actor=admin, now=clock.now())
    made = Endpoint.objects.select_related("pending").get(name="iris")
    assert made.pending
    succeed(made, made.pending, now=clock.now())
    with pytest.raises(SpecErrors, match="Only an admin"):
        update(owner, HTTPS_PROXY="http://other")
    update(owner, HTTPS_PROXY="http://proxy", MODE="fast")
    pending = Endpoint.objects.select_related("pending").get(name="iris").pending
    assert pending
    assert pending.number == 2
