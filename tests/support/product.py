"""Runs the whole product with all its processes on a free port and its own data folder; people use it through its pages."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.architecture.sources import ROOT
from tests.support.canary import CANARY
from tests.support.program import Program, running_program
from tests.support.sign_in import sign_in
from tests.support.waiting import command_line, free_port, is_alive, wait_until

SERVER, WORKER, BEAT = "serving_ui.server", "--quiet worker", "--quiet beat"
CHAT_REQUEST = {"messages": [{"role": "user", "content": "Hello"}]}
_STATE = re.compile(r'Serving endpoint state:.*?class="state [^>]*>.*?<span>([^<]*)</span>', re.S)

OnResponse = Callable[[requests.Response], None]


class Product:
    """`manage.py up` and the other commands of manage.py. `on_response` is called with every response of the server."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.on_response: OnResponse | None = None
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}
        self.env = {**clean, "SERVING_UI_DATA": str(self.data), **settings}
        self.program: Program

    @contextlib.contextmanager
    def up(self, *options: str) -> Iterator[Product]:
        """Runs it until the block ends; it is ready when the block begins."""
        command = [sys.executable, str(ROOT / "manage.py"), "up", "--port", str(self.port), *options]
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with running_program(command, cwd=self.data.parent, env=self.env) as self.program:
            self.program.wait_for_line("Serving page ready at", seconds=180)
            yield self

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        try:
            return requests.get(f"{self.url}/readyz", timeout=60).status_code == 200
        except requests.RequestException:
            return False

    def command(self, *arguments: str) -> str:
        """Run a command of manage.py; returns its output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.env, capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @contextlib.contextmanager
    def person(self, email: str) -> Iterator[Person]:
        """Sign in a person, and create an access token for them."""
        with requests.Session() as session:
            if self.on_response:
                on_response = self.on_response
                session.hooks["response"].append(lambda response, **_options: on_response(response))
            welcome = sign_in(session, self.url + self.command("sign_in_link", email))
            assert welcome.status_code == 200, welcome.text
            someone = Person(self, session)
            someone.token = someone.new_token("for queries")
            yield someone

    def process(self, words: str) -> int:
        """The id of the only process whose command line contains `words`, such as SERVER."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [each for each in self.program.descendants() if words in command_line(each)]
            return len(found) == 1

        wait_until(look, what=f"one process of {words!r}")
        return found[0]

    def kill(self, words: str) -> int:
        """Send SIGKILL to the process; returns its former id."""
        process = self.process(words)
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: not is_alive(process), what=f"the end of {words!r}")
        return process

    def wait_for_replacement(self, words: str, killed: int) -> None:
        """Wait until the supervisor has started another process in place of `killed`."""
        wait_until(lambda: self.process(words) != killed, what=f"another {words!r}")


@dataclass
class Answer:
    """The answer to one query. `status` is 0 if there was no HTTP response."""

    status: int
    model: str = ""
    body: Any = None


@dataclass
class Person:
    """Sends requests to the pages as a browser does, and to the gateway as a program does."""

    product: Product
    session: requests.Session
    token: str = ""

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.product.url + path, timeout=60)

    def post(self, path: str, form: Mapping[str, str], *, status: int = 303) -> requests.Response:
        """Submit a form. Fails unless the response has `status`."""
        with_token = {**form, "csrfmiddlewaretoken": self.session.cookies.get("serving_ui_csrf", "")}
        answer = self.session.post(self.product.url + path, with_token, timeout=60, allow_redirects=False)
        assert answer.status_code == status, f"{answer.status_code} for {path}:\n{_problems(answer.text)}"
        return answer

    def new_token(self, comment: str) -> str:
        """An access token, made on the Settings page."""
        self.get("/settings")
        self.post("/settings", {"comment": comment, "days": "30"})
        page = self.get("/settings").text
        found = re.search(r'id="token-value">([^<]+)<', page)
        assert found
        return found[1]

    def revoke_token(self, comment: str) -> None:
        page = self.get("/settings").text
        row = page[page.index(comment) :]
        found = re.search(r'name="revoke" value="([^"]+)"', row)
        assert found
        self.post("/settings", {"revoke": found[1]})

    def create(self, name: str, *, base: str, status: int = 303, **answers: str) -> requests.Response:
        """Create an endpoint for an OpenAI model with the form."""
        return self.post("/ml/endpoints/create", {"name": name, **openai(base, **answers)}, status=status)

    def edit(self, name: str, *, base: str, status: int = 303, **answers: str) -> requests.Response:
        """Submit the form of an existing endpoint. The stored key is kept unless another one is in `answers`."""
        page = self.get(f"/ml/endpoints/{name}/edit").text
        opened = {name: _hidden(page, name) for name in ("based_on", "generation", "entity_origin")}
        answers.setdefault("openai_api_key_plaintext", "")
        form = {**opened, **openai(base, **answers)}
        return self.post(f"/ml/endpoints/{name}/edit", form, status=status)

    def cancel(self, name: str) -> None:
        self.post(f"/ml/endpoints/{name}/cancel", {})

    def state(self, name: str) -> str:
        """The state shown on the endpoint's page, such as `Ready (Updating)`."""
        page = self.get(f"/ml/endpoints/{name}").text
        found = _STATE.search(page)
        assert found, page
        return found[1]

    def wait_for_state(self, name: str, state: str, *, seconds: float = 60) -> float:
        """Wait until the page shows this state; returns the seconds that it took."""
        began = time.monotonic()
        wait_until(lambda: self.state(name) == state, what=f"{name} to be {state!r}", seconds=seconds)
        return time.monotonic() - began

    def query(self, name: str, *, token: str | None = None) -> Answer:
        """Send one query to the gateway."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        url = f"{self.product.url}/serving-endpoints/{name}/invocations"
        try:
            reply = self.session.post(url, json=CHAT_REQUEST, headers=headers, timeout=60)
        except requests.RequestException:
            return Answer(0)
        body = reply.json()
        return Answer(reply.status_code, body.get("model", ""), body)


def openai(base: str, *, model: str = "gpt-4", **answers: str) -> dict[str, str]:
    """The form values for an OpenAI model. `answers` are values of the provider's fields, by field name."""
    if "openai_api_key" not in answers:
        answers.setdefault("openai_api_key_plaintext", CANARY)
    return {
        "provider": "openai",
        "task": "llm/v1/chat",
        "served_entity_name": "entity",
        "openai__external_model_name": model,
        "openai__openai_api_base": base,
        **{f"openai__{name}": value for name, value in answers.items()},
    }


def _hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


def _problems(page: str) -> str:
    """The errors that the form shows, for the message of a failed assertion."""
    return "\n".join(re.findall(r'class="error"[^>]*>(.*?)</', page, re.S)) or page[:2000]
