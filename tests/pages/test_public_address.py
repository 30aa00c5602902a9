"""Pages and code samples show the public address of the server."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.accounts.models import User
from tests.pages.conftest import signed_in


@pytest.mark.parametrize("path", ["/ml/endpoints/create", "/docs/api", "/api/2.0/openapi.json"])
@pytest.mark.parametrize("public", ["", "https://x.example"])
def test_pages_show_the_public_address(admin: User, settings: Any, path: str, public: str):
    settings.PUBLIC_URL = public
    settings.PROVIDER_ADDRESSES = {"sandbox": "http://127.0.0.1:8123"}
    page = signed_in(admin).get(path).content.decode()
    assert ("http://testserver" in page) is not bool(public)
    assert (f"{public or 'http://testserver'}" in page) is True
    if path == "/ml/endpoints/create":  # the address of a provider does not depend on the public address
        assert "http://127.0.0.1:8123/sandbox/v1" in page
