"""Saving the edit form is atomic: whatever happens meanwhile, afterwards all of it is saved or nothing.

Runs on PostgreSQL with TEST_DATABASE_URL; `tests/organisation/test_committed.py` breaks real connections to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.catalogue.spec import parse_field
from serving_ui.endpoints import commands
from serving_ui.endpoints.edits import EndpointChanges
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.transitions import MAX_ATTEMPTS
from serving_ui.lib import clock
from tests.pages.conftest import settle
from tests.pages.test_edit import EDIT, current, opened
from tests.support.pages import Page

pytestmark = pytest.mark.django_db(transaction=True)
MOST_STATEMENTS = 300
LOCK_TIMEOUT = {"sqlite": "PRAGMA busy_timeout = 50", "postgresql": "SET lock_timeout = '50ms'"}


@dataclass
class Interruption:
    """Calls `happen` right before the `number`-th SQL statement of the request, counted from 1."""

    number: int
    happen: Callable[[], None]
    seen: int = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.seen += 1
        if self.seen == self.number:
            self.happen()
        return execute(sql, params, many, context)


@contextmanager
def interrupted(number: int, happen: Callable[[], None]) -> Iterator[Interruption]:
    interruption = Interruption(number, happen)
    with connection.execute_wrapper(interruption):
        yield interruption


def saved(endpoint: Endpoint) -> dict[str, Any]:
    """The stored values of the fields that `form` changes."""
    config = (endpoint.pending or endpoint.active).config  # type: ignore[union-attr]
    return {
        "model": config.served_entities[0].external.name,
        "description": endpoint.description,
        "tags": endpoint.tags,
        "calls": [limit["calls"] for limit in endpoint.rate_limits],
        "timeout": endpoint.timeouts.get("total_seconds"),
    }


def wanted(number: int) -> dict[str, Any]:
    return {
        "model": f"gpt-{number}",
        "description": f"For {number}.",
        "tags": [{"key": f"tag-{number}", "value": ""}],
        "calls": [number],
        "timeout": float(number),
    }


def form(browser: Client, number: int) -> dict[str, str]:
    """The edit form with each of its parts changed."""
    return opened(browser) | {
        "openai__external_model_name": f"gpt-{number}",
        "description": f"For {number}.",
        "tags-0-key": f"tag-{number}",
        "rate_limit_user": str(number),
        "timeout_total_seconds": str(number),
    }


def tag_by_another(owner: User, number: int) -> bool:
    """Changes the tags on another database connection. False if the save has locked the row or the database."""
    tags = parse_field("tags", [{"key": f"other-{number}"}])
    try:
        with connection.cursor() as cursor:
            cursor.execute(LOCK_TIMEOUT[connection.vendor])
        commands.edit_endpoint(name="chat", changes=EndpointChanges(tags=tags), actor=owner, now=clock.now())
    except OperationalError:
        return False
    finally:
        connection.close()
    return True


def test_a_concurrent_change_at_any_statement_of_a_save_leaves_all_or_nothing_saved(
    browser: Client, ready: Endpoint, owner: User
):
    outcomes = []
    for number in range(1, MOST_STATEMENTS):
        typed, before = form(browser, number), saved(current())
        changed: list[bool] = []

        def happen(number: int = number, changed: list[bool] = changed) -> None:
            with ThreadPoolExecutor(1) as thread:
                changed.append(thread.submit(tag_by_another, owner, number).result())

        with interrupted(number, happen) as interruption:
            status = browser.post(EDIT, typed).status_code
        after, others = saved(current()), [{"key": f"other-{number}", "value": ""}]
        if status == 409:
            assert changed == [True]
            assert after == before | {"tags": others}
        elif changed == [True]:  # after the commit of the save
            assert (status, after) == (303, wanted(number) | {"tags": others})
        else:
            assert (status, after) == (303, wanted(number))
        outcomes.append((status, *changed))
        if current().is_updating:
            settle(current(), "active")
        if interruption.seen < number:
            break
    assert (409, True) in outcomes
    assert outcomes.count((303, False)) > 10
    assert outcomes[-1] == (303,)


def test_a_lost_database_at_any_statement_of_a_save_leaves_nothing_saved(browser: Client, ready: Endpoint):
    browser.raise_request_exception = False

    def lose_database() -> None:
        raise OperationalError("gone")

    for number in range(1, MOST_STATEMENTS):
        typed, before = form(browser, number), saved(current())
        with interrupted(number, lose_database) as interruption:
            status = browser.post(EDIT, typed).status_code
        if status == 303:
            assert saved(current()) == wanted(number)
            break
        assert (status, saved(current())) == (503, before), number
    assert number > 20
    assert interruption.seen >= number - 1


def test_a_save_that_conflicts_on_every_attempt_is_409_and_keeps_its_values(browser: Client, ready: Endpoint):
    attempts = 0

    def overtake(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal attempts
        if sql.startswith(f'UPDATE "{Endpoint._meta.db_table}" SET "generation"'):
            attempts += 1
            execute(
                f'UPDATE "{Endpoint._meta.db_table}" SET "generation" = "generation" + 1', (), False, context
            )
        return execute(sql, params, many, context)

    typed, before = form(browser, 7), current()
    with connection.execute_wrapper(overtake):
        response = browser.post(EDIT, typed)
    page = Page(response)
    assert response.status_code == 409
    assert attempts == MAX_ATTEMPTS
    assert "The endpoint changed at the same moment. Try again." in page.id("refusal").text
    assert page.fields()["description"] == "For 7."
    assert (saved(current()), current().generation) == (saved(before), before.generation)


def test_a_save_of_all_parts_increments_the_generation_once(browser: Client, ready: Endpoint):
    before = current()
    assert browser.post(EDIT, form(browser, 7)).status_code == 303
    after = current()
    assert saved(after) == wanted(7)
    assert after.generation == before.generation + 1
    newest = after.events.filter(generation=after.generation).order_by("pk")
    assert list(newest.values_list("type", flat=True)) == [
        "ENDPOINT_UPDATE_EVENT",
        "ENDPOINT_DESCRIPTION_EVENT",
        "ENDPOINT_TAGS_EVENT",
        "ENDPOINT_RATE_LIMITS_EVENT",
        "ENDPOINT_TIMEOUTS_EVENT",
    ]
