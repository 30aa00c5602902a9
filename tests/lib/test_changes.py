"""Every command reports its change within its transaction, for an audit log."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps

from serving_ui.accounts import commands as accounts
from serving_ui.accounts import directory, tokens
from serving_ui.accounts.models import AccessToken, Group, User
from serving_ui.catalogue.spec import EndpointSpec, parse_field
from serving_ui.endpoints import built_in, commands, granting, takeover, workspace
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Level
from serving_ui.lib import clock
from serving_ui.lib.changes import ReportedChange, change_reported
from serving_ui.model_hosts import commands as hosts
from serving_ui.model_hosts.host_spec import HostChanges, HostSpec
from serving_ui.vault import commands as vault
from serving_ui.vault.commands import Grantee
from serving_ui.vault.rights import Right
from tests.conftest import spec
from tests.endpoints import secret_scenario
from tests.support.canary import CANARY

pytestmark = pytest.mark.django_db

MODULES = (
    commands,
    granting,
    takeover,
    workspace,
    built_in,
    accounts,
    directory,
    tokens,
    vault,
    hosts,
)
NO_COMMANDS: set[object] = {
    takeover.secret_problems,  # these only read
    takeover.pending_takeovers,
    accounts.link_invalid,
    directory.need_admin,
    tokens.usable,
    tokens.own,
    tokens.managed,
    tokens.managed_one,
    commands.refuse_while_updating,  # parts of commands
    commands.submit_admitted,
    commands.remove_endpoints,
    hosts.check_now,  # only makes the worker's next check earlier
    hosts.state_of,
    vault.store,  # parts of commands of endpoints; rewrap changes no value
    vault.copy,
    vault.forget,
    vault.rewrap,
}
DOMAINS = ("accounts", "endpoints", "vault", "revisions", "model_hosts")


@dataclass
class World:
    """The objects that the commands act on."""

    admin: User
    owner: User
    teammate: User
    idle: User
    program: User
    group: Group
    token: AccessToken
    link: str
    endpoint: Endpoint


@dataclass(frozen=True)
class Command:
    """A call and the change that it must report: kind, name, and some fields before and after."""

    call: Callable[[World], object]
    kind: str
    before: dict[str, Any] | None = field(default_factory=dict)
    after: dict[str, Any] | None = field(default_factory=dict)
    is_anonymous: bool = False


@pytest.fixture
def world(make_endpoint: Callable[..., Endpoint], admin: User, owner: User, teammate: User) -> World:
    group = directory.create_group(name="readers", member_ids=[teammate.pk], actor=admin)
    token, _value = accounts.create_access_token(user=owner, comment="first", now=clock.now())
    link = accounts.create_sign_in_link(user=owner, now=clock.now())
    endpoint = make_endpoint()
    make_endpoint("updating")
    commands.cancel_update(name="chat", actor=owner, now=clock.now())
    granting.grant(name="chat", to=teammate.email, level=Level.CAN_VIEW, actor=owner, now=clock.now())
    secret_scenario.make_scope(owner, value=CANARY)
    secret_scenario.let_read(owner, teammate)
    leaver = User.objects.create(email="leaver@example.com")
    secret_scenario.let_read(owner, leaver)
    theirs = EndpointSpec(name="theirs", config=secret_scenario.config("http://127.0.0.1:9"))
    commands.create_endpoint(spec=theirs, actor=leaver, now=clock.now())
    secret_scenario.let_manage(leaver, owner, "theirs")
    directory.change_principal(user=leaver, active=False, actor=admin)
    program = directory.create_service_principal(actor=admin)
    address = "http://127.0.0.1:9/v1"
    hosts.create_host(spec=HostSpec(name="gpu", base_url=address), actor=admin, now=clock.now())
    hosts.put_local_host(name="local", base_url=address, api_key="", now=clock.now())
    idle = User.objects.create(email="idle@example.com")
    return World(admin, owner, teammate, idle, program, group, token, link, endpoint)


def edit(**changes: Any) -> Callable[[World], object]:
    return lambda w: commands.edit_endpoint(
        name="chat", changes=EndpointChanges(**changes), actor=w.owner, now=clock.now()
    )


COMMANDS: dict[Callable[..., Any], Command] = {
    commands.create_endpoint: Command(
        lambda w: commands.create_endpoint(spec=spec("new"), actor=w.owner, now=clock.now()),
        "endpoint", before=None, after={"name": "new", "config_update": "IN_PROGRESS"},
    ),
    commands.edit_endpoint: Command(
        edit(
            config=spec(model="gpt-9").config,
            description="New.",
            tags=parse_field("tags", [{"key": "a"}]),
            rate_limits=parse_field("rate_limits", [{"calls": 5}]),
            fallback=True,
        ),
        "endpoint",
        before={"description": "", "tags": [], "rate_limits": [], "ai_gateway": {}, "pending_config": None},
        after={
            "description": "New.",
            "tags": [{"key": "a", "value": ""}],
            "ai_gateway": {"fallback_config": {"enabled": True}},
            "config_update": "IN_PROGRESS",
        },
    ),
    commands.cancel_update: Command(
        lambda w: commands.cancel_update(name="updating", actor=w.owner, now=clock.now()),
        "endpoint", {"config_update": "IN_PROGRESS"}, {"config_update": "UPDATE_CANCELED", "pending_config": None},
    ),
    commands.retry_update: Command(
        lambda w: commands.retry_update(name="chat", actor=w.owner, now=clock.now()),
        "endpoint", {"config_update": "UPDATE_CANCELED"}, {"config_update": "IN_PROGRESS"},
    ),
    commands.delete_endpoint: Command(
        lambda w: commands.delete_endpoint(name="chat", actor=w.owner, now=clock.now()),
        "endpoint", {"name": "chat", "permissions": {"teammate@example.com": "CAN_VIEW"}}, None,
    ),
    granting.grant: Command(
        lambda w: granting.grant(
            name="chat", to="teammate@example.com", level=Level.CAN_QUERY, actor=w.owner, now=clock.now()
        ),
        "endpoint",
        {"permissions": {"teammate@example.com": "CAN_VIEW"}},
        {"permissions": {"teammate@example.com": "CAN_QUERY"}},
    ),
    granting.set_permissions: Command(
        lambda w: granting.set_permissions(
            endpoint_id=w.endpoint.pk, changes=[], replace=True, actor=w.owner, now=clock.now()
        ),
        "endpoint", {"permissions": {"teammate@example.com": "CAN_VIEW"}}, {"permissions": {}},
    ),
    takeover.take_over: Command(
        lambda w: takeover.take_over(name="theirs", actor=w.owner, now=clock.now()),
        "endpoint", {"secrets_sent_on_right_of": ...}, {"secrets_sent_on_right_of": ...},
    ),
    workspace.allow_several_external_models: Command(
        lambda w: workspace.allow_several_external_models(allowed=True, actor=w.admin),
        "workspace", {"several_external_models": False}, {"several_external_models": True},
    ),
    hosts.create_host: Command(
        lambda w: hosts.create_host(
            spec=HostSpec(name="new", base_url="http://127.0.0.1:9/v1", secret_plaintext=CANARY),
            actor=w.admin,
            now=clock.now(),
        ),
        "model host", None, {"name": "new", "kind": "openai-compatible"},
    ),
    hosts.update_host: Command(
        lambda w: hosts.update_host(
            name="gpu", changes=HostChanges(prefix="house"), actor=w.admin, now=clock.now()
        ),
        "model host", {"prefix": ""}, {"prefix": "house"},
    ),
    hosts.delete_host: Command(
        lambda w: hosts.delete_host(name="gpu", actor=w.admin, now=clock.now()),
        "model host", {"name": "gpu"}, None,
    ),
    hosts.put_local_host: Command(
        lambda w: hosts.put_local_host(
            name="here", base_url="http://127.0.0.1:9/v1", api_key=CANARY, now=clock.now()
        ),
        "model host", None, {"kind": "local"}, is_anonymous=True,
    ),
    hosts.delete_local_host: Command(
        lambda w: hosts.delete_local_host(name="local"), "model host", {"name": "local"}, None, is_anonymous=True
    ),
    built_in.ensure: Command(
        lambda w: built_in.ensure(), "endpoint", None, {"pending_config": ...}, is_anonymous=True
    ),
    accounts.ensure_user: Command(
        lambda w: accounts.ensure_user(email="owner@example.com", admin=True),
        "principal", {"is_admin": False}, {"is_admin": True}, is_anonymous=True,
    ),
    accounts.create_sign_in_link: Command(
        lambda w: accounts.create_sign_in_link(user=w.owner, now=clock.now()),
        "sign-in link", None, {"principal": "owner@example.com", "used_at": None}, is_anonymous=True,
    ),
    accounts.first_sign_in_link: Command(
        lambda w: accounts.first_sign_in_link(now=clock.now()),
        "sign-in link", None, {"principal": "admin@example.com"}, is_anonymous=True,
    ),
    accounts.redeem_sign_in_link: Command(
        lambda w: accounts.redeem_sign_in_link(value=w.link.removeprefix("/welcome/"), now=clock.now()),
        "sign-in link", {"used_at": None}, {"used_at": ...},
    ),
    accounts.create_access_token: Command(
        lambda w: accounts.create_access_token(user=w.owner, comment="second", now=clock.now()),
        "access token", None, {"owner": "owner@example.com", "comment": "second", "expires_at": None},
    ),
    accounts.revoke_access_token: Command(
        lambda w: accounts.revoke_access_token(user=w.owner, token_id=w.token.pk, actor=w.owner),
        "access token", {"comment": "first"}, None,
    ),
    tokens.comment_on: Command(
        lambda w: tokens.comment_on(token=w.token, comment="renamed", actor=w.owner),
        "access token", {"comment": "first"}, {"comment": "renamed"},
    ),
    tokens.create_on_behalf_of: Command(
        lambda w: tokens.create_on_behalf_of(
            application_id=w.program.email,
            comment="for it", lifetime=timedelta(days=1), actor=w.admin, now=clock.now(),
        ),
        "access token", None, {"created_by": "admin@example.com"},
    ),
    directory.create_person: Command(
        lambda w: directory.create_person(email="new@example.com", actor=w.admin),
        "principal", None, {"email": "new@example.com", "is_active": True},
    ),
    directory.create_service_principal: Command(
        lambda w: directory.create_service_principal(name="job", actor=w.admin),
        "principal", None, {"name": "job", "kind": "service_principal"},
    ),
    directory.change_principal: Command(
        lambda w: directory.change_principal(user=w.owner, name="Otto", active=False, actor=w.admin),
        "principal", {"name": "", "is_active": True}, {"name": "Otto", "is_active": False, "access_tokens": []},
    ),
    directory.delete_principal: Command(
        lambda w: directory.delete_principal(user=w.idle, actor=w.admin),
        "principal", {"email": "idle@example.com"}, None,
    ),
    directory.create_group: Command(
        lambda w: directory.create_group(name="new", actor=w.admin), "group", None, {"name": "new"}
    ),
    directory.change_group: Command(
        lambda w: directory.change_group(group=w.group, name="writers", actor=w.admin),
        "group", {"name": "readers"}, {"name": "writers"},
    ),
    directory.change_members: Command(
        lambda w: directory.change_members(
            group=w.group, add=[w.owner.pk], remove=[w.teammate.pk], actor=w.admin
        ),
        "group", {"members": ["teammate@example.com"]}, {"members": ["owner@example.com"]},
    ),
    directory.delete_group: Command(
        lambda w: directory.delete_group(group=w.group, actor=w.admin),
        "group", {"name": "readers", "members": ["teammate@example.com"]}, None,
    ),
    vault.create_scope: Command(
        lambda w: vault.create_scope(name="new", actor=w.owner, now=clock.now()),
        "secret scope", None, {"creator": "owner@example.com"},
    ),
    vault.delete_scope: Command(
        lambda w: vault.delete_scope(name="prod", actor=w.owner, now=clock.now()),
        "secret scope", {"keys": ["openai"], "rights": {"leaver@example.com": "READ", "teammate@example.com": "READ"}}, None,
    ),
    vault.put_secret: Command(
        lambda w: vault.put_secret(scope="prod", key="openai", value="v", actor=w.owner, now=clock.now()),
        "secret", {"updated_at": ...}, {"updated_at": ...},
    ),
    vault.delete_secret: Command(
        lambda w: vault.delete_secret(scope="prod", key="openai", actor=w.owner, now=clock.now()),
        "secret", {"updated_at": ...}, None,
    ),
    vault.grant: Command(
        lambda w: vault.grant(
            scope="prod", to=Grantee(w.teammate.email, w.teammate.pk), right=Right.WRITE,
            actor=w.owner, now=clock.now(),
        ),
        "secret scope", {"rights": {"teammate@example.com": "READ"}}, {"rights": {"teammate@example.com": "WRITE"}},
    ),
    vault.withdraw: Command(
        lambda w: vault.withdraw(
            scope="prod", grantee=Grantee(w.teammate.email, w.teammate.pk), actor=w.owner, now=clock.now()
        ),
        "secret scope", {"rights": {"teammate@example.com": "READ"}}, {"rights": {}},
    ),
}  # fmt: skip


def public_functions() -> Iterator[Callable[..., Any]]:
    for module in MODULES:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_own = function.__module__ == module.__name__ and not name.startswith("_")
            if is_own and function not in NO_COMMANDS:
                yield function


@contextmanager
def receive_changes(receiver: Callable[[ReportedChange], None]) -> Iterator[None]:
    def receive(change: ReportedChange, **_signal: object) -> None:
        receiver(change)

    change_reported.connect(receive)
    try:
        yield
    finally:
        change_reported.disconnect(receive)


def rows() -> dict[str, list[Any]]:
    """All rows of the apps' tables."""
    models = [model for label in DOMAINS for model in apps.get_app_config(label).get_models()]
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in models}


def assert_holds(state: Any, expected: dict[str, Any] | None) -> None:
    if expected is None:
        assert state is None
        return
    for name, value in expected.items():
        assert state[name] is not None if value is ... else state[name] == value, name


def named(function: Callable[..., Any]) -> str:
    return f"{function.__module__.removeprefix('serving_ui.')}.{function.__name__}"


def test_every_public_command_is_in_the_table():
    assert {named(function) for function in public_functions()} == {named(each) for each in COMMANDS}


@pytest.mark.parametrize("function", COMMANDS, ids=named)
def test_a_command_reports_its_change(function: Callable[..., Any], world: World):
    command = COMMANDS[function]
    reported: list[ReportedChange] = []
    with receive_changes(reported.append):
        command.call(world)
    assert reported, "It reports no change."
    change = reported[-1]
    same_action = {
        "first_sign_in_link": "create_sign_in_link",
        "create_on_behalf_of": "create_access_token",
    }
    assert change.action == same_action.get(function.__name__, function.__name__)
    assert (change.kind, bool(change.id and change.name)) == (command.kind, True)
    assert (change.actor is None) == command.is_anonymous
    assert_holds(change.before, command.before)
    assert_holds(change.after, command.after)
    assert change.before != change.after
    assert CANARY not in json.dumps([[each.before, each.after] for each in reported])


@pytest.mark.parametrize("function", COMMANDS, ids=named)
def test_a_change_is_rolled_back_if_its_report_fails(function: Callable[..., Any], world: World):
    def refuse(_change: ReportedChange) -> None:
        raise ZeroDivisionError

    before = rows()
    with receive_changes(refuse), pytest.raises(ZeroDivisionError):
        COMMANDS[function].call(world)
    assert rows() == before
