"""The migrations convert the rows of the previous release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from serving_ui.lib import clock
from tests.conftest import openai_body

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = [
    ("endpoints", "0006_timeouts_and_shares"),
    ("accounts", "0002_groups_and_service_principals"),
    ("vault", "0002_scope_grants"),
]


def migrate(to: list[tuple[str, str]]) -> Any:
    """Migrate; returns the models of that state."""
    executor = MigrationExecutor(connection)
    executor.migrate(to)
    return MigrationExecutor(connection).loader.project_state(to).apps


@pytest.fixture
def before() -> Iterator[Any]:
    yield migrate(BEFORE)
    migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def newest() -> Any:
    return migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def config(key: str) -> dict[str, Any]:
    body: dict[str, Any] = openai_body()["config"]
    model = body["served_entities"][0]["external_model"]
    model["openai_config"] = {"openai_api_key": key}
    return body


class PreviousRelease:
    """Creates rows as the previous release did."""

    def __init__(self, apps: Any) -> None:
        self.apps, self.now = apps, clock.now()
        self.workspace = self.model("Workspace").objects.get()  # created by a migration

    def model(self, name: str, app: str = "endpoints") -> Any:
        return self.apps.get_model(app, name)

    def person(self, email: str, **more: Any) -> Any:
        return self.model("User", "accounts").objects.create(email=email, **more)

    def secret(self, owner: Any, scope: str, key: str) -> Any:
        row, _new = self.model("Scope", "vault").objects.get_or_create(
            name=scope, defaults={"creator": owner, "created_at": self.now}
        )
        made: Any = self.model("StoredSecret", "vault").objects.create(
            scope=row, key=key, key_id="k", ciphertext=f"sealed {key}", updated_at=self.now
        )
        return made

    def endpoint(self, name: str, creator: Any, *keys: str, **more: Any) -> list[Any]:
        """An endpoint with these versions, the last one active."""
        row = self.model("Endpoint").objects.create(
            name=name, workspace=self.workspace, creator=creator,
            created_at=self.now, modified_at=self.now, **more,
        )  # fmt: skip
        versions = [
            self.model("ConfigVersion").objects.create(
                endpoint=row, number=number, spec=config(key), creator=creator,
                created_at=self.now, deadline=self.now,
            )
            for number, key in enumerate(keys, 1)
        ]  # fmt: skip
        row.active = row.latest = versions[-1]
        row.save()
        return versions


def test_references_are_bound_to_their_secret_and_submitter(before: Any):
    old = PreviousRelease(before)
    ann, gone = old.person("ann@example.com"), old.person("gone@example.com", is_active=False)
    secret = old.secret(ann, "prod", "key")
    older, active = old.endpoint("e", ann, "{{secrets/prod/key}}", "{{secrets/prod/key}}")
    (missing,) = old.endpoint("missing", ann, "{{secrets/prod/none}}")
    (left,) = old.endpoint("left", gone, "{{secrets/prod/key}}")
    apps = newest()
    bindings = {row.version_id: row for row in apps.get_model("endpoints", "SecretBinding").objects.all()}
    assert older.pk not in bindings
    row = bindings[active.pk]
    assert row.place == "served_entities/0/external_model/openai_config/openai_api_key"
    assert (row.scope, row.key, row.secret_id) == ("prod", "key", secret.pk)
    assert (row.authoriser_id, row.owner_id, row.held_id) == (ann.pk, ann.pk, None)
    assert bindings[missing.pk].secret_id is None
    row = bindings[left.pk]
    held = apps.get_model("vault", "StoredSecret").objects.get(pk=row.held_id)
    assert (row.authoriser_id, held.scope_id, held.ciphertext) == (gone.pk, None, "sealed key")


def test_limits_are_bound_to_the_principal_of_the_name(before: Any):
    old = PreviousRelease(before)
    ann = old.person("Ann@example.com")
    red = old.model("Group", "accounts").objects.create(name="Red")
    limits = [
        {"key": "user", "principal": "ann@example.com", "calls": 1},
        {"key": "user_group", "principal": "nobody", "calls": 1},
        {"key": "user", "calls": 1},
    ]
    gateway = {"rate_limits": [{"key": "user_group", "principal": "red", "calls": 1}]}
    old.endpoint("e", ann, "{{secrets/a/b}}", rate_limits=limits, ai_gateway=gateway)
    old.endpoint("plain", ann, "{{secrets/a/b}}")
    rows = newest().get_model("endpoints", "Endpoint").objects.all()
    assert {row.name: row.limit_principals for row in rows} == {
        "e": {"rate_limits": {"principal ann@example.com": ann.pk}, "ai_gateway": {"group red": red.pk}},
        "plain": {},
    }


def test_the_previous_release_can_write_to_the_newer_schema(before: Any):
    """During a rolling upgrade: unknown columns have defaults in the database, and rows that it deletes may be
    referred to by tables that it does not know."""
    earlier = PreviousRelease(before)
    ann = earlier.person("ann@example.com")
    secret = earlier.secret(ann, "prod", "key")
    (version,) = earlier.endpoint("bound", ann, "{{secrets/prod/key}}")
    apps = newest()
    earlier.person("bob@example.com")
    earlier.endpoint("late", ann, "{{secrets/prod/key}}")
    assert apps.get_model("accounts", "User").objects.get(email="bob@example.com").access_epoch == 0
    assert apps.get_model("endpoints", "Endpoint").objects.get(name="late").limit_principals == {}
    meant = secret.pk
    secret.delete()
    version.delete()
    assert apps.get_model("endpoints", "SecretBinding").objects.get().secret_id == meant
