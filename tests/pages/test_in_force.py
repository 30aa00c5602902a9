"""A form is answered when all gateway processes serve its change, and the next page names the late ones."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.test import Client

from serving_ui.accounts.models import User
from serving_ui.revisions import changes, gateways
from tests.pages.conftest import signed_in
from tests.support.pages import Page

pytestmark = pytest.mark.django_db(transaction=True)
LATE = "The gateway process slow-1 does not serve this change yet."


@pytest.fixture(autouse=True)
def no_acknowledgement_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "ACKNOWLEDGEMENT_TIMEOUT", timedelta(0))
    monkeypatch.setattr(gateways, "LIVENESS_TIMEOUT", timedelta(minutes=1))


def scope(browser: Client, name: str) -> Page:
    """Creates a secret scope; returns the page after the redirect."""
    assert browser.post("/ml/secrets/scopes", {"scope": name}).status_code == 303
    return Page(browser.get("/ml/secrets"))


def test_a_late_process_is_named_on_the_next_page(owner: User):
    browser = signed_in(owner)
    assert LATE not in scope(browser, "first").text
    gateways.acknowledge(process="slow-1", revision=1)
    assert LATE in scope(browser, "second").text


def test_a_request_that_changes_nothing_for_gateways_does_not_wait_for_them(owner: User):
    browser = signed_in(owner)
    gateways.acknowledge(process="slow-1", revision=0)
    browser.post("/ml/endpoints/create/fields", {"provider": "openai"}, headers={"HX-Request": "true"})
    assert LATE not in Page(browser.get("/ml/secrets")).text


def test_a_change_that_was_rolled_back_is_not_waited_for(owner: User):
    with changes.track_revisions() as revisions:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            changes.bump_revision()
            raise ZeroDivisionError
    assert revisions == []
    with changes.track_revisions() as revisions:
        number = changes.bump_revision()
    assert revisions == [number]
