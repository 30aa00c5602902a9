"""A committed change is answered as done, whatever happens after the commit. A request that is sent again changes nothing twice, and
its answer shows whether the first one was committed.

The connections really break: `pg_terminate_backend`, or a relay that cuts one at each of its steps.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import requests

from tests.organisation.conftest import Database
from tests.support.gateways import Gateways, running_gateways
from tests.support.pages import Page
from tests.support.postgresql_relay import Cut, PostgresqlRelay, running_relay
from tests.support.product import Product, openai
from tests.support.server_alone import ServerAlone
from tests.support.sign_in import sign_in
from tests.support.suspending import suspended
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]
MOST_STEPS = 200


def count(database: str, table: str, **where: str) -> int:
    """The number of committed rows."""
    [(column, value)] = where.items()
    with psycopg.connect(database, autocommit=True) as own:
        found = own.execute(f"SELECT count(*) FROM {table} WHERE {column} = %s", [value])
        return int(found.fetchall()[0][0])


def end_connections(database: str) -> None:
    """Ends every connection of the product to its database."""
    with psycopg.connect(database, autocommit=True) as own:
        own.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'"
        )


@dataclass
class Program:
    """Calls the API with a token."""

    url: str
    token: str

    def post(self, path: str, key: str, **body: Any) -> requests.Response:
        head = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key}
        return requests.post(f"{self.url}/api/2.0/{path}", json=body, headers=head, timeout=60)


# A running product, with a gateway beside it


@pytest.fixture
def gateways(product: Product) -> Iterator[Gateways]:
    with running_gateways(env={**product.env, "SERVING_UI_PORT": str(product.port)}) as started:
        yield started


@pytest.fixture
def admin(product: Product) -> Program:
    return Program(product.url, product.command("create_token", "root@example.com", "--admin"))


@pytest.mark.smoke
def test_a_committed_change_is_answered_as_done_when_connections_end_during_the_wait_for_gateways(
    admin: Program, gateways: Gateways, postgresql: Database
):
    key = str(uuid4())
    process = min(gateways.workers())
    with suspended(gateways.program.process.pid, process), ThreadPoolExecutor(1) as thread:
        first = thread.submit(admin.post, "token/create", key, comment=key)
        wait_until(lambda: count(postgresql.url, "accounts_accesstoken", comment=key) == 1, what="the commit")
        end_connections(postgresql.url)
        made = first.result(60)
    assert made.status_code == 200, made.text
    again = admin.post("token/create", key, comment=key)
    assert (again.status_code, again.json()["token_value"]) == (200, made.json()["token_value"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert count(postgresql.url, "accounts_accesstoken", comment=key) == 1


def test_concurrent_retries_create_one_token_while_connections_end_repeatedly(
    admin: Program, postgresql: Database
):
    done = threading.Event()

    def disturb() -> None:
        while not done.wait(0.05):
            end_connections(postgresql.url)

    keys = [str(uuid4()) for _key in range(4)]

    def repeat_until_answered(key: str) -> set[str]:
        """Sends the request until three answers were successful; returns their token values."""
        values: list[str] = []
        while len(values) < 3:
            answer = admin.post("token/create", key, comment=key)
            assert answer.status_code in (200, 409, 503), answer.text
            values += [answer.json()["token_value"]] if answer.status_code == 200 else []
        return set(values)

    disturber = threading.Thread(target=disturb, daemon=True)
    disturber.start()
    try:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(repeat_until_answered, keys * 2))
    finally:
        done.set()
        disturber.join(60)
    for key, one, other in zip(keys, answers[:4], answers[4:], strict=True):
        assert len(one | other) == 1
        assert count(postgresql.url, "accounts_accesstoken", comment=key) == 1


# A server alone, whose connections are cut at each step


@pytest.fixture(scope="module")
def cut_off(postgresql: Database) -> Iterator[PostgresqlRelay]:
    with running_relay(postgresql.another("cut_off")) as relay:
        yield relay


@pytest.fixture(scope="module")
def database(cut_off: PostgresqlRelay, postgresql: Database) -> str:
    """The address of the same database without a relay."""
    return postgresql.url.rpartition("/")[0] + "/cut_off"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, cut_off: PostgresqlRelay, database: str
) -> Iterator[ServerAlone]:
    class OnPostgresql(ServerAlone):
        @property
        def env(self) -> dict[str, str]:
            return {**super().env, "SERVING_UI_DATABASE_URL": cut_off.url}

    alone = OnPostgresql(Path(tmp_path_factory.mktemp("cut-off")))
    alone.command("migrate", "--verbosity", "0")
    alone.command("collectstatic", "--noinput", "--verbosity", "0")
    with alone.up():
        yield alone


def each_cut() -> Iterator[Cut]:
    """A cut at each step of a connection until there is no such step, first before the server has done the step and then after."""
    for done in (False, True):
        for step in range(1, MOST_STEPS):
            cut = Cut(step, done)
            yield cut
            if not cut.was_made:
                break


def answer_of_repeated_call(program: Program, key: str) -> requests.Response:
    """Repeats the request until the database has ended the transaction of the first one; returns the answer."""
    found: list[requests.Response] = []

    def is_answered() -> bool:
        found[:] = [program.post("token/create", key, comment=key)]
        return found[0].status_code != 409

    wait_until(is_answered, what="the first request to end")
    return found[0]


def test_an_api_call_whose_connection_is_cut_at_any_step_is_done_once(
    cut_off: PostgresqlRelay, server: ServerAlone, database: str
):
    program = Program(server.url, server.command("create_token", "root@example.com", "--admin"))
    seen = []
    for cut in each_cut():
        key = str(uuid4())
        with cut_off.cut_next_connection(cut):
            answer = program.post("token/create", key, comment=key)
        there = count(database, "accounts_accesstoken", comment=key)
        seen.append((answer.status_code, there))
        assert seen[-1] in {(200, 1), (503, 0), (503, 1)}, answer.text
        if seen[-1] == (503, 1):
            assert "may or may not have been saved" in answer.json()["message"]
        again = answer_of_repeated_call(program, key)
        assert again.status_code == 200
        if answer.status_code == 200:
            assert again.json()["token_value"] == answer.json()["token_value"]
        assert count(database, "accounts_accesstoken", comment=key) == 1
    assert seen.count((503, 0)) > 20
    assert (
        seen.count((503, 1)) == 1
    )  # the answer to the COMMIT was lost, the only case that the server cannot decide


def test_a_form_whose_connection_is_cut_at_any_step_is_done_once(
    cut_off: PostgresqlRelay, server: ServerAlone, database: str
):
    seen = []
    with requests.Session() as browser:
        sign_in(browser, server.url + server.command("sign_in_link", "owner@example.com"))
        address = f"{server.url}/ml/endpoints/create"
        for cut in each_cut():
            name = f"chat-{uuid4().hex[:12]}"
            form = {
                **Page(browser.get(address, timeout=60)).fields(),
                "name": name,
                **openai("http://127.0.0.1:9"),
            }
            with cut_off.cut_next_connection(cut):
                answer = browser.post(address, form, timeout=60, allow_redirects=False)
            there = count(database, "endpoints_endpoint", name=name)
            seen.append((answer.status_code, there))
            assert seen[-1] in {(303, 1), (503, 0), (503, 1)}, answer.text
            again = browser.post(address, form, timeout=60, allow_redirects=False)
            assert (again.status_code, again.headers["Location"]) == (303, f"/ml/endpoints/{name}")
            assert count(database, "endpoints_endpoint", name=name) == 1
    assert seen.count((503, 0)) > 20
    assert seen.count((503, 1)) == 1


def edited(database: str, name: str) -> tuple[object, ...]:
    """The committed values of the fields that Editor changes."""
    with psycopg.connect(database, autocommit=True) as own:
        found = own.execute(
            "SELECT description, rate_limits, tags, timeouts, version.spec"
            " FROM endpoints_endpoint endpoint JOIN endpoints_configversion version ON version.id = latest_id"
            " WHERE name = %s",
            [name],
        )
        description, rate_limits, tags, timeouts, spec = found.fetchall()[0]
    model = spec["served_entities"][0]["external_model"]["name"]
    mine = {tag["key"] for tag in tags} - {"other"}
    return description, [each["calls"] for each in rate_limits], mine, timeouts.get("total_seconds"), model


def as_typed(number: int) -> tuple[object, ...]:
    return f"For {number}.", [number], {f"tag-{number}"}, float(number), f"gpt-{number}"


@dataclass
class Editor:
    """Saves the edit form of an endpoint with each of its parts changed, and cancels the update that it began."""

    browser: requests.Session
    address: str

    def typed(self, number: int) -> dict[str, str]:
        fields = Page(self.browser.get(f"{self.address}/edit", timeout=60)).fields()
        # Not the row of "other", which is the first one once somebody else has added that tag.
        rows = [name for name in sorted(fields) if name.startswith("tags-") and name.endswith("-key")]
        row = next((name for name in rows if fields[name] != "other"), f"tags-{len(rows)}-key")
        return fields | {
            "openai__external_model_name": f"gpt-{number}",
            "description": f"For {number}.",
            row: f"tag-{number}",
            "rate_limit_user": str(number),
            "timeout_total_seconds": str(number),
        }

    def save(self, typed: dict[str, str]) -> int:
        return self.browser.post(f"{self.address}/edit", typed, timeout=60, allow_redirects=False).status_code

    def cancel(self) -> None:
        page = Page(self.browser.get(self.address, timeout=60))
        self.browser.post(f"{self.address}/cancel", page.fields(), timeout=60)


@pytest.fixture
def editor(server: ServerAlone) -> Iterator[Editor]:
    """An editor of an endpoint named `edited`."""
    with requests.Session() as browser:
        sign_in(browser, server.url + server.command("sign_in_link", "owner@example.com"))
        create = f"{server.url}/ml/endpoints/create"
        fields = Page(browser.get(create, timeout=60)).fields()
        browser.post(create, {**fields, "name": "edited", **openai("http://127.0.0.1:9")}, timeout=60)
        editor = Editor(browser, f"{server.url}/ml/endpoints/edited")
        editor.cancel()
        yield editor


def test_an_edit_whose_connection_is_cut_at_any_step_is_saved_completely_or_not_at_all(
    cut_off: PostgresqlRelay, editor: Editor, database: str
):
    seen = []
    for number, cut in enumerate(each_cut(), start=100):
        typed, before = editor.typed(number), edited(database, "edited")
        with cut_off.cut_next_connection(cut):
            status = editor.save(typed)
        after = edited(database, "edited")
        assert after in (before, as_typed(number))
        seen.append((status, after != before))
        assert seen[-1] in {(303, True), (503, False), (503, True)}
        editor.cancel()
    assert seen.count((503, False)) > 20
    assert seen.count((503, True)) == 1  # the answer to the COMMIT was lost


def test_an_edit_with_concurrent_changes_is_saved_completely_or_not_at_all(
    editor: Editor, server: ServerAlone, database: str
):
    token = server.command("create_token", "owner@example.com")
    done = threading.Event()

    def disturb() -> None:
        head = {"Authorization": f"Bearer {token}"}
        for number in range(10_000):
            body = {"add_tags": [{"key": "other", "value": str(number)}]}
            tags = f"{server.url}/api/2.0/serving-endpoints/edited/tags"
            assert requests.patch(tags, json=body, headers=head, timeout=60).status_code == 200
            if done.wait(0.2):
                return

    seen = []
    with ThreadPoolExecutor(1) as thread:
        disturber = thread.submit(disturb)
        try:
            for number in range(500, 530):
                typed, before = editor.typed(number), edited(database, "edited")
                status = editor.save(typed)
                after = edited(database, "edited")
                assert after == (as_typed(number) if status == 303 else before)
                seen.append(status)
                editor.cancel()
        finally:
            done.set()
        disturber.result(60)
    assert set(seen) <= {303, 409}


def new_link(database: str) -> str:
    """Creates a sign-in link in the database for an existing user, like `manage.py sign_in_link`."""
    value = uuid4().hex
    with psycopg.connect(database, autocommit=True) as own:
        own.execute(
            "INSERT INTO accounts_signinlink (digest, user_id, expires_at)"
            " SELECT %s, id, now() + interval '1 day' FROM accounts_user LIMIT 1",
            [sha256(value.encode()).hexdigest()],
        )
    return f"/welcome/{value}"


def test_a_sign_in_whose_connection_is_cut_at_any_step_can_be_repeated(
    cut_off: PostgresqlRelay, server: ServerAlone, database: str
):
    server.command("create_token", "owner@example.com")
    seen = []
    for cut in each_cut():
        link = server.url + new_link(database)
        with requests.Session() as browser:
            form = Page(browser.get(link, timeout=60)).fields()
            with cut_off.cut_next_connection(cut):
                answer = browser.post(link, form, timeout=60, allow_redirects=False)
            seen.append(answer.status_code)
            assert seen[-1] in (303, 503), answer.text
            if seen[-1] == 503:
                assert browser.post(link, form, timeout=60, allow_redirects=False).status_code == 303
            page = browser.get(f"{server.url}/settings", timeout=60, allow_redirects=False)
            assert page.status_code == 200
    assert seen.count(503) > 10


def test_the_same_form_sent_many_times_at_once_creates_one_endpoint(server: ServerAlone, database: str):
    with requests.Session() as browser:
        sign_in(browser, server.url + server.command("sign_in_link", "owner@example.com"))
        address = f"{server.url}/ml/endpoints/create"
        form = {
            **Page(browser.get(address, timeout=60)).fields(),
            "name": "mine",
            **openai("http://127.0.0.1:9"),
        }
        cookies = browser.cookies.get_dict()

    def send(_time: int) -> tuple[int, str]:
        answer = requests.post(address, form, cookies=cookies, timeout=60, allow_redirects=False)
        return answer.status_code, answer.headers.get("Location", "")

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(send, range(8))) == {(303, "/ml/endpoints/mine")}
    assert count(database, "endpoints_endpoint", name="mine") == 1
