"""Creates endpoints and secrets by posting the forms of the pages, for tests that are not about these forms."""

from __future__ import annotations

from typing import Any

import requests

from tests.support.sandbox import SandboxServer
from tests.support.sign_in import sign_in
from tests.support.waiting import wait_until

CSRF = "serving_ui_csrf"


class FormClient:
    """A signed-in person without a browser."""

    def __init__(self, url: str, link: str) -> None:
        self.url = url
        self.session = requests.Session()
        assert sign_in(self.session, url + link).status_code == 200

    @property
    def cookies(self) -> list[dict[str, str]]:
        """The cookies of the session, in Playwright's format."""
        return [
            {"name": each.name, "value": each.value or "", "url": self.url} for each in self.session.cookies
        ]

    def get(self, path: str) -> str:
        answer = self.session.get(self.url + path, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, path: str, **fields: Any) -> str:
        fields["csrfmiddlewaretoken"] = self.session.cookies[CSRF]
        answer = self.session.post(self.url + path, fields, headers={"Referer": self.url}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.text

    def create(self, name: str, upstream: SandboxServer, **more: str) -> None:
        """A new OpenAI endpoint for chat."""
        self.post(
            "/ml/endpoints/create",
            **{
                "name": name,
                "provider": "openai",
                "task": "llm/v1/chat",
                "openai__external_model_name": "gpt-4o",
                "openai__openai_api_key_plaintext": "sk-clerk",
                "openai__openai_api_base": upstream.base,
                **more,
            },
        )

    def wait_for_state(self, name: str, words: str) -> None:
        wait_until(lambda: f"<span>{words}</span>" in self.get(f"/ml/endpoints/{name}"))
