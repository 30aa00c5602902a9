"""What follows a commit makes no failure of what was committed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from serving_ui.accounts.commands import create_access_token
from serving_ui.accounts.models import AccessToken, User
from serving_ui.endpoints import in_force, publication
from serving_ui.lib import clock

pytestmark = pytest.mark.django_db(transaction=True)


def make_token(owner: User) -> str:
    return create_access_token(user=owner, now=clock.now())[0].pk


def fail() -> None:
    raise ZeroDivisionError


def test_what_is_called_on_commit_may_fail(owner: User):
    def work() -> str:
        transaction.on_commit(fail)
        return make_token(owner)

    assert AccessToken.objects.filter(pk=in_force.carry_out(work).answer).exists()


def test_what_fails_before_the_commit_undoes_everything(owner: User):
    def work() -> None:
        make_token(owner)
        fail()

    with pytest.raises(ZeroDivisionError):
        in_force.carry_out(work)
    assert not AccessToken.objects.exists()


def test_a_database_that_is_gone_after_the_commit_is_told_in_the_answer(
    owner: User, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(publication, "PATIENCE", timedelta(seconds=0.1))

    def gone(call: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "endpoints_gatewayprocess" in sql:
            raise OperationalError("gone")
        return call(sql, params, many, context)

    with connection.execute_wrapper(gone):
        done = in_force.carry_out(lambda: make_token(owner))
    assert AccessToken.objects.filter(pk=done.answer).exists()
    assert done.late == [
        "The database went away after the change was made. Gateway processes may not serve it yet."
    ]
