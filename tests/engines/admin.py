"""An admin's calls of the REST API and of the gateway."""

from __future__ import annotations

from typing import Any

import requests

from tests.engines.polling import wait_until
from tests.support.product import Product


class Admin:
    """Calls the REST API and the gateway with an admin's token."""

    def __init__(self, product: Product) -> None:
        self.url = product.url
        self.token = product.command("create_token", "a@example.com", "--admin")
        self._headers = {"Authorization": f"Bearer {self.token}"}

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        url = f"{self.url}/api/2.0/{path}"
        return requests.request(method, url, json=body, headers=self._headers, timeout=60)

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.call(method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, name: str) -> Any:
        return self.ok("GET", f"serving-endpoints/{name}")

    def register(self, name: str, version: str = "1", **fields: Any) -> None:
        """By default one of the classes of tests/engines/models.py, whose name in lower case is `name`."""
        fields.setdefault("kind", "deployment")
        fields.setdefault("location", f"tests.engines.models:{name.title()}")
        if fields["kind"] == "deployment":
            fields.setdefault("engine_arguments", {"version": version})
        self.ok("POST", "registered-models", {"name": name, "version": version, **fields})

    def create(self, name: str, *entities: dict[str, Any], **config: Any) -> Any:
        body = {"name": name, "config": {"served_entities": [*entities], **config}}
        return self.ok("POST", "serving-endpoints", body)

    def update(self, name: str, *entities: dict[str, Any], **config: Any) -> Any:
        return self.ok("PUT", f"serving-endpoints/{name}/config", {"served_entities": [*entities], **config})

    def cancel(self, name: str) -> Any:
        return self.ok("POST", f"serving-endpoints/{name}/config:cancel")

    def delete_all(self) -> None:
        """Delete all endpoints with models of one's own."""
        for each in self.ok("GET", "serving-endpoints")["endpoints"]:
            if each.get("endpoint_type") == "CUSTOM_MODEL":
                self.ok("DELETE", f"serving-endpoints/{each['name']}")

    def settled(self, name: str, *, seconds: float = 90) -> Any:
        """The endpoint, once no update runs."""

        def is_settled() -> bool:
            return bool(self.get(name)["state"]["config_update"] != "IN_PROGRESS")

        wait_until(is_settled, what=f"the end of the update of {name}", seconds=seconds)
        return self.get(name)

    def has_failed(self, name: str) -> bool:
        return bool(self.get(name)["state"]["config_update"] == "UPDATE_FAILED")

    def is_ready(self, name: str) -> bool:
        return bool(self.get(name)["state"]["ready"] == "READY")

    def message(self, name: str) -> str:
        """Of the newest config version: its progress, or why it failed."""
        newest = self.ok("GET", f"serving-endpoints/{name}/config-versions")["config_versions"][0]
        return str(newest["message"])

    def events(self, name: str) -> list[tuple[str, str]]:
        """Type and sentence of each event, the newest first."""
        found = self.ok("GET", f"serving-endpoints/{name}/events")["events"]
        return [(each["type"], each["message"]) for each in found]

    def query(self, name: str, body: Any) -> requests.Response:
        """On a connection of its own, because threads use this."""
        url = f"{self.url}/serving-endpoints/{name}/invocations"
        return requests.post(url, json=body, headers=self._headers, timeout=60)


def entity(version: str = "1", model: str = "versioned", **fields: Any) -> dict[str, Any]:
    return {"entity_name": model, "entity_version": version, "scale_to_zero_enabled": False, **fields}
