"""Errors after the commit do not make a committed call fail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from serving_ui.accounts.commands import create_access_token
from serving_ui.accounts.models import AccessToken, User
from serving_ui.lib import clock
from serving_ui.revisions import gateways, in_force

pytestmark = pytest.mark.django_db(transaction=True)


def make_token(owner: User) -> str:
    return create_access_token(user=owner, now=clock.now())[0].pk


def fail() -> None:
    raise ZeroDivisionError


def test_an_error_in_an_on_commit_callback_does_not_fail_the_call(owner: User):
    def work() -> str:
        transaction.on_commit(fail)
        return make_token(owner)

    assert AccessToken.objects.filter(pk=in_force.commit_and_wait(work).result).exists()


def test_an_error_before_the_commit_rolls_everything_back(owner: User):
    def work() -> None:
        make_token(owner)
        fail()

    with pytest.raises(ZeroDivisionError):
        in_force.commit_and_wait(work)
    assert not AccessToken.objects.exists()


def test_a_database_lost_after_the_commit_is_reported_as_a_warning(
    owner: User, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gateways, "ACKNOWLEDGEMENT_TIMEOUT", timedelta(seconds=0.1))

    def raise_operational_error(call: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "endpoints_gatewayprocess" in sql:
            raise OperationalError("gone")
        return call(sql, params, many, context)

    with connection.execute_wrapper(raise_operational_error):
        done = in_force.commit_and_wait(lambda: make_token(owner))
    assert AccessToken.objects.filter(pk=done.result).exists()
    assert done.warnings == [
        "The change was saved, but then the database became unreachable. Gateway processes may not serve the change yet."
    ]
