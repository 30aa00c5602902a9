"""Old rows of changes are deleted."""

from __future__ import annotations

import pytest

from serving_ui.revisions import changes
from serving_ui.revisions.changes import Subject
from serving_ui.revisions.models import Change


@pytest.mark.django_db(transaction=True)
def test_old_changes_are_deleted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "MAX_CHANGES", 10)
    monkeypatch.setattr(changes, "DELETE_EVERY", 5)
    for _each in range(60):
        changes.bump_revision(Subject.PRINCIPAL, "somebody")
    assert Change.objects.count() <= 16
    assert changes.changes_since(changes.current_revision() - 3) is not None
    assert changes.changes_since(1) is None
