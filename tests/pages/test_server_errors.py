"""Pages of server errors: no traceback, and a sentence that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from serving_ui.accounts.models import User


def failing(error: Exception) -> Any:
    def execute(*_call: object) -> None:
        raise error

    return execute


@pytest.mark.parametrize(("error", "status"), [(OperationalError("gone"), 503), (ZeroDivisionError(), 500)])
def test_a_server_error_page_says_what_to_do(owner: User, error: Exception, status: int):
    from django.db import connection

    client = Client(raise_request_exception=False)
    client.force_login(owner)
    with connection.execute_wrapper(failing(error)):
        answer = client.get("/ml/endpoints")
    assert answer.status_code == status
    text = answer.content.decode()
    assert ("The database is unreachable" in text) == (status == 503)
    assert "again" in text
    assert "Traceback" not in text
