"""Signs in as a person does: opens the one-time link and submits its form."""

from __future__ import annotations

import requests

from tests.support.pages import Page


def sign_in(session: requests.Session, link: str) -> requests.Response:
    """Sign in with the link; returns the page after it."""
    opened = session.get(link, timeout=60)
    assert opened.status_code == 200, opened.text
    return session.post(link, Page(opened).fields(), timeout=60)
