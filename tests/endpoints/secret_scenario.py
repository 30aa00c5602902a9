"""A secret scope of the owner, an endpoint that uses a secret of it, and functions that change or read both."""

from __future__ import annotations

from typing import Any

from serving_ui.accounts.models import Group, User
from serving_ui.catalogue.spec import ConfigSpec, parse_config
from serving_ui.endpoints import commands, revocation
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.granting import grant
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib import clock
from serving_ui.snapshots.builder import SnapshotBuilder
from serving_ui.vault import commands as vault
from serving_ui.vault.commands import Grantee
from serving_ui.vault.rights import Right
from tests.conftest import openai_body

REFERENCE = "{{secrets/prod/openai}}"


def make_scope(owner: User, *, value: str = "first") -> None:
    vault.create_scope(name="prod", actor=owner, now=clock.now())
    rotate(owner, value)


def rotate(owner: User, value: str) -> None:
    vault.put_secret(scope="prod", key="openai", value=value, actor=owner, now=clock.now())


def delete_key(owner: User) -> None:
    vault.delete_secret(scope="prod", key="openai", actor=owner, now=clock.now())


def delete_scope(owner: User) -> None:
    vault.delete_scope(name="prod", actor=owner, now=clock.now())


def let_read(owner: User, reader: User | Group) -> None:
    vault.grant(scope="prod", to=_grantee(reader), right=Right.READ, actor=owner, now=clock.now())


def withdraw(owner: User, reader: User | Group) -> None:
    vault.withdraw(scope="prod", grantee=_grantee(reader), actor=owner, now=clock.now())


def _grantee(who: User | Group) -> Grantee:
    is_user = isinstance(who, User)
    return Grantee(str(who), who.pk if is_user else None, None if is_user else who.pk)


def let_manage(owner: User, manager: User, name: str = "chat") -> None:
    grant(name=name, to=manager.email, level=Level.CAN_MANAGE, actor=owner, now=clock.now())


def config(base: str, *, model: str = "gpt-4", reference: str = REFERENCE) -> ConfigSpec:
    body = openai_body(base=base, model=model)["config"]
    model_of: dict[str, Any] = body["served_entities"][0]["external_model"]
    model_of["openai_config"] = {"openai_api_key": reference, "openai_api_base": base}
    return parse_config(body)


def update(actor: User, spec: ConfigSpec, name: str = "chat") -> Endpoint:
    return commands.edit_endpoint(
        name=name, changes=EndpointChanges(config=spec), actor=actor, now=clock.now()
    )


def sent_key(name: str = "chat", builder: SnapshotBuilder | None = None) -> str | None:
    """The API key that gateways send; None if they refuse queries."""
    endpoint = (builder or SnapshotBuilder()).build().endpoints[name]
    if not endpoint.ready:
        assert endpoint.problem
        return None
    (secret,) = endpoint.entities[0].config.secrets().values()
    return secret.reveal()


def refusal(name: str = "chat") -> str:
    """The message with which gateways refuse queries."""
    endpoint = SnapshotBuilder().build().endpoints[name]
    assert not endpoint.ready
    return endpoint.problem or ""


def state_after_revocations(name: str = "chat") -> tuple[str, str]:
    """Apply changed rights to the rows of endpoints; returns `ready` and `config_update` of the endpoint."""
    assert revocation.apply_secret_rights(now=clock.now())
    row = Endpoint.objects.get(name=name)
    return row.ready, row.config_update


def event_types(name: str = "chat") -> list[str]:
    """The types of the endpoint's events, the newest first."""
    rows = Endpoint.objects.get(name=name).events.order_by("-pk")
    return list(rows.values_list("type", flat=True))
