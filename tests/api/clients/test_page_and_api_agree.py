"""The page and the API show the same state of an endpoint at every moment, whichever of them changed it."""

from __future__ import annotations

from typing import Any

import pytest
from databricks.sdk import WorkspaceClient

from tests.api.clients.bodies import B, config, ready, wait_until_settled
from tests.api.clients.conftest import Account
from tests.support.pages import Page
from tests.support.product import Person
from tests.support.sandbox import SandboxServer
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients"), pytest.mark.filterwarnings("ignore")]

READY = {"READY": "Ready", "NOT_READY": "Not ready"}
UPDATE = {
    "NOT_UPDATING": "",
    "IN_PROGRESS": " (Updating)",
    "UPDATE_FAILED": " (Update failed)",
    "UPDATE_CANCELED": " (Update canceled)",
}
DEPLOYMENT = {
    "DEPLOYMENT_CREATING": "Creating",
    "DEPLOYMENT_READY": "Ready",
    "DEPLOYMENT_FAILED": "Failed",
    "DEPLOYMENT_ABORTED": "Aborted",
}


class StateReader:
    """Reads one endpoint from the page and from the API, and compares them."""

    def __init__(self, account: Account, person: Person, name: str) -> None:
        self.account, self.person, self.name = account, person, name

    def wait_until_settled(self) -> None:
        wait_until_settled(self.account.client(), self.name)

    def api(self) -> Any:
        return self.account.call("GET", f"{B}/{self.name}").json()

    def state_shown_by_both(self) -> str:
        """Compare what both show; returns the state. Reads again if the endpoint changed in between."""
        while True:
            before = self.api()
            pages = {key: self.page(key) for key in ("active", "pending")}
            if before == self.api():
                return self.compare(before, pages)

    def page(self, which: str) -> Page:
        return Page(self.person.get(f"/ml/endpoints/{self.name}?config={which}"))

    def compare(self, endpoint: Any, pages: dict[str, Page]) -> str:
        state = READY[endpoint["state"]["ready"]] + UPDATE[endpoint["state"]["config_update"]]
        page = pages["active"]
        assert page.state() == state
        assert page.is_polling() == (endpoint["state"]["config_update"] == "IN_PROGRESS")
        assert row(page, "Created by:") == endpoint["creator"]
        assert row(page, "Tags:") == (
            " ".join(f"{tag['key']}: {tag['value']}" for tag in endpoint["tags"]) or "None"
        )
        limits = ", ".join(
            f"{limit['calls']} a minute for each user" for limit in endpoint.get("rate_limits", ())
        )
        assert row(page, "Rate limits:") == f"{limits or 'None'} Set limits"
        assert configuration(page) == expected(endpoint["config"])
        if "pending_config" in endpoint:
            assert configuration(pages["pending"]) == expected(endpoint["pending_config"])
        return state


def row(page: Page, title: str) -> str:
    """The text beside a title of the page."""
    [found] = [each for each in page.root.all("dt") if each.text == title and each.parent]
    assert found.parent is not None
    return found.parent.one("dd").text


def configuration(page: Page) -> tuple[str, list[list[str]]]:
    """The version of the config that the page shows, and its rows: model, name, state, traffic."""
    section = page.id("endpoint-config")
    heading = section.one("div", class_="section-head").all("span", class_="muted")[0].text
    rows = [[cell.text for cell in line.all("td")] for line in section.one("tbody").all("tr")]
    return heading, [[cells[0].split()[-1], *cells[2:]] for cells in rows]


def expected(shown: Any) -> tuple[str, list[list[str]]]:
    share = {
        each["served_entity_name"]: each["traffic_percentage"] for each in shown["traffic_config"]["routes"]
    }
    rows = [
        [
            entity["external_model"]["name"],
            entity["name"],
            DEPLOYMENT[entity["state"]["deployment"]],
            str(share[entity["name"]]),
        ]
        for entity in shown["served_entities"]
    ]
    return f"version {shown['config_version']}", rows


@pytest.fixture
def state_reader(owner: Account, person: Person, name: str) -> StateReader:
    return StateReader(owner, person, name)


def test_page_and_api_agree_while_an_endpoint_becomes_ready(
    state_reader: StateReader, owner: Account, name: str, secret: str
):
    owner.call("POST", B, {"name": name, "config": config(secret), "tags": [{"key": "a", "value": "b"}]})
    states: list[str] = []

    def is_ready() -> bool:
        states.append(state_reader.state_shown_by_both())
        return states[-1] == "Ready"

    wait_until(is_ready, what=f"{name} to be ready on both sides")
    assert set(states) <= {"Not ready (Updating)", "Ready"}


def test_page_and_api_agree_on_updates_cancellations_and_retries_made_by_either(
    state_reader: StateReader,
    owner: Account,
    person: Person,
    provider: SandboxServer,
    secret: str,
):
    name = state_reader.name
    provider.hold("models")
    person.create(name, base="", openai_api_key=secret)
    assert state_reader.state_shown_by_both() == "Not ready (Updating)"
    provider.release("models")
    state_reader.wait_until_settled()
    assert state_reader.state_shown_by_both() == "Ready"

    provider.hold("models")
    owner.call("PUT", f"{B}/{name}/config", config(secret, model="gpt-4o"))
    assert state_reader.state_shown_by_both() == "Ready (Updating)"
    person.cancel(name)
    assert state_reader.state_shown_by_both() == "Ready (Update canceled)"
    assert state_reader.api()["config"]["config_version"] == 1

    person.post(f"/ml/endpoints/{name}/retry", {})
    assert state_reader.state_shown_by_both() == "Ready (Updating)"
    cancelled = owner.call("POST", f"{B}/{name}/config:cancel")
    assert cancelled.json()["state"] == {"ready": "READY", "config_update": "UPDATE_CANCELED"}
    assert state_reader.state_shown_by_both() == "Ready (Update canceled)"
    provider.reset()

    person.edit(name, base="", model="gpt-4o", openai_api_key=secret)
    state_reader.wait_until_settled()
    assert state_reader.state_shown_by_both() == "Ready"
    assert state_reader.api()["config"]["served_entities"][0]["external_model"]["name"] == "gpt-4o"
    outcomes = [
        each["outcome"] for each in owner.call("GET", f"{B}/{name}/config-versions").json()["config_versions"]
    ]
    assert outcomes == ["ACTIVE", "CANCELED", "CANCELED", "REPLACED"]


def test_page_and_api_agree_on_a_cancelled_and_a_failed_first_version(
    state_reader: StateReader, owner: Account, provider: SandboxServer, secret: str
):
    name = state_reader.name
    provider.hold("models")
    owner.call("POST", B, {"name": name, "config": config(secret)})
    owner.call("POST", f"{B}/{name}/config:cancel")
    assert state_reader.state_shown_by_both() == "Not ready (Update canceled)"
    provider.reset()
    provider.set_faults(on="models", status=401, message="This key was withdrawn.")
    owner.call("PUT", f"{B}/{name}/config", config(secret))
    state_reader.wait_until_settled()
    assert state_reader.state_shown_by_both() == "Not ready (Update failed)"
    [entity] = state_reader.api()["config"]["served_entities"]
    assert "This key was withdrawn." in entity["state"]["deployment_state_message"]
    assert "This key was withdrawn." in state_reader.page("pending").text


def test_page_and_api_agree_on_governance_and_deletion(
    state_reader: StateReader, workspace: WorkspaceClient, owner: Account, person: Person, secret: str
):
    name = state_reader.name
    ready(workspace, name, secret)
    owner.call("PATCH", f"{B}/{name}/tags", {"add_tags": [{"key": "team", "value": "gen-ai"}]})
    limits = [{"calls": 7, "key": "user", "renewal_period": "minute"}]
    owner.call("PUT", f"{B}/{name}/rate-limits", {"rate_limits": limits})
    assert state_reader.state_shown_by_both() == "Ready"
    assert row(state_reader.page("active"), "Rate limits:") == "7 a minute for each user Set limits"
    events = [each["message"] for each in owner.call("GET", f"{B}/{name}/events").json()["events"]]
    page = state_reader.page("active").text
    assert all(event in page for event in events)
    owner.call("DELETE", f"{B}/{name}")
    assert person.get(f"/ml/endpoints/{name}").status_code == 404
    assert name not in person.get("/ml/endpoints").text

    ready(workspace, f"{name}-again", secret)
    person.post(f"/ml/endpoints/{name}-again/delete", {"typed_name": f"{name}-again"})
    assert owner.call("GET", f"{B}/{name}-again").status_code == 404
