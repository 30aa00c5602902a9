"""The Databricks SDK lists users by `startIndex` while others are added and deleted."""

from __future__ import annotations

import pytest
from databricks.sdk.service.iam import User

from tests.api.clients.conftest import Account

pytestmark = [
    pytest.mark.clients,
    pytest.mark.slow,
    pytest.mark.xdist_group("clients"),
    pytest.mark.filterwarnings("ignore"),
]
PEOPLE = 120


def test_the_sdk_lists_each_remaining_user_exactly_once_while_others_change(admin: Account):
    workspace = admin.client()
    others: list[User] = []
    for number in range(PEOPLE):
        workspace.users.create(user_name=f"{number:03}-stays@example.com")
        if number % 4 == 0:
            others.append(workspace.users.create(user_name=f"{number:03}-goes@example.com"))
    met: list[str] = []
    seen = 0
    for seen, person in enumerate(workspace.users.list(count=10), 1):
        if "-stays@" in (person.user_name or ""):
            met.append(person.user_name or "")
        if (
            seen % 10 == 5 and others
        ):  # in the middle of each page two users are deleted, which may be listed already, and one is added
            for gone in (others.pop(0), others.pop()) if len(others) > 1 else (others.pop(),):
                workspace.users.delete(gone.id or "")
            workspace.users.create(user_name=f"{seen:03}-comes@example.com")
    assert not others
    assert seen > PEOPLE
    assert (len(met), len(set(met))) == (PEOPLE, PEOPLE)
    for person in workspace.users.list():
        if person.user_name and person.user_name.endswith(("-stays@example.com", "-comes@example.com")):
            workspace.users.delete(person.id or "")
