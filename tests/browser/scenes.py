"""All pages in their states: the address, who opens it, and what is clicked before it is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from playwright.sync_api import Page, expect

from serving_ui.pages.views.access import TOKENS
from serving_ui.pages.views.secrets import KEYS
from tests.browser import steps
from tests.browser.form_client import FormClient
from tests.support.sandbox import SandboxServer, running_sandbox
from tests.support.waiting import wait_until

READY, UPDATING, FAILED = "gallery-of-pages", "gallery-updating", "gallery-failed"
REVOKED, TAKEOVER = "gallery-revoked", "gallery-left"
FOUNDATION = "system-gallery-sandbox-chat"
LONG = "a-very-long-name-of-an-endpoint-that-takes-all-of-what-it-may-1"


@dataclass(frozen=True)
class Scene:
    """One page in one state."""

    name: str
    path: str
    who: str = "owner"
    status: int = 200
    act: Callable[[Page], object] = lambda _page: None


def _with_provider(label: str) -> Callable[[Page], object]:
    return lambda page: steps.choose_provider(page, label)


def _in_dialog(page: Page) -> None:
    page.get_by_role("button", name="Entity").click()
    expect(page.get_by_role("dialog", name="Select served entity")).to_be_visible()


def _my_models_in_dialog(page: Page) -> None:
    _in_dialog(page)
    page.get_by_role("radio", name="My models").check(force=True)
    expect(page.get_by_text("This server has no Ray cluster")).to_be_visible()


def _refused(page: Page) -> None:
    steps.choose_provider(page, "OpenAI")
    page.get_by_label("Name", exact=True).fill("not a name")
    page.get_by_label("OpenAI API base").fill("ftp://nowhere")
    steps.press(page, "Create")
    expect(page.get_by_role("alert")).to_be_visible()


def _deleting(page: Page) -> None:
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def _menu(page: Page) -> None:
    page.locator("header details summary").click()


def _answered(page: Page) -> None:
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_role("status").get_by_text("200")).to_be_visible()
    expect(page.get_by_role("button", name="Send request")).to_be_enabled()


def _token(page: Page) -> None:
    page.get_by_role("button", name="Create token").click()
    expect(page.locator("#token-value")).to_be_visible()


LINK = "/welcome/{link}"  # a link of the newcomer
_AT = f"/ml/endpoints/{READY}"
SCENES = [
    Scene("sign-in", "/sign-in", who="stranger"),
    Scene("link-invalid", "/welcome/none", who="stranger", status=403),
    Scene("welcome", LINK, who="stranger"),
    Scene("welcome-same", LINK, who="newcomer"),
    Scene("welcome-other", LINK),
    Scene("list", "/ml/endpoints"),
    Scene("list-no-match", "/ml/endpoints?search=nothing-like-this"),
    Scene("list-empty", "/ml/endpoints", who="newcomer"),
    Scene("create", "/ml/endpoints/create"),
    Scene("create-dialog", "/ml/endpoints/create", act=_in_dialog),
    Scene("create-openai", "/ml/endpoints/create", act=_with_provider("OpenAI")),
    Scene("create-bedrock", "/ml/endpoints/create", act=_with_provider("Amazon Bedrock")),
    Scene("create-dialog-own", "/ml/endpoints/create", act=_my_models_in_dialog),
    Scene("create-own", "/ml/endpoints/create?model=gallery", who="admin"),
    Scene("create-refused", "/ml/endpoints/create", status=422, act=_refused),
    Scene("endpoint", _AT, act=_menu),
    Scene("endpoint-versions", f"{_AT}?tab=versions"),
    Scene("endpoint-permissions", f"{_AT}?tab=permissions"),
    Scene("endpoint-updating", f"/ml/endpoints/{UPDATING}"),
    Scene("endpoint-failed", f"/ml/endpoints/{FAILED}"),
    Scene("endpoint-revoked", f"/ml/endpoints/{REVOKED}"),
    Scene("endpoint-left", f"/ml/endpoints/{TAKEOVER}"),
    Scene("endpoint-deleting", _AT, act=_deleting),
    Scene("delete", f"{_AT}/delete"),
    Scene("edit", f"{_AT}/edit"),
    Scene("query", f"{_AT}/query", act=_answered),
    Scene("foundation-models", "/ml/foundation-models"),
    Scene("foundation-model", f"/ml/endpoints/{FOUNDATION}"),
    Scene("model-hosts", "/ml/model-hosts", who="admin"),
    Scene("model-host-servers", "/ml/model-hosts/servers", who="admin"),
    Scene("model-host-add", "/ml/model-hosts/add", who="admin"),
    Scene("model-host-provider", "/ml/model-hosts/add?kind=provider&provider=openai", who="admin"),
    Scene("model-host-edit", "/ml/model-hosts/gallery/edit", who="admin"),
    Scene("model-host-delete", "/ml/model-hosts/gallery/delete", who="admin"),
    Scene("my-models", "/ml/models", who="admin"),
    Scene("model-register", "/ml/models/register", who="admin"),
    Scene("model-delete", "/ml/models/gallery/versions/1/delete", who="admin"),
    Scene("secrets", "/ml/secrets"),
    Scene("secrets-empty", "/ml/secrets", who="newcomer"),
    Scene("secret-delete", "/ml/secrets/gallery/delete?key=openai"),
    Scene("secrets-one", "/ml/secrets?scope=gallery"),
    Scene("settings", "/settings", act=_token),
    Scene("settings-many", "/settings", who="newcomer"),
    Scene("documentation", "/docs"),
    Scene("documentation-code", "/docs/creating-and-updating-endpoints"),
    Scene("documentation-tables", "/docs/providers"),
    Scene("documentation-search", "/docs?q=secret"),
    Scene("docs", "/docs/api"),
    Scene("docs-endpoint", f"/docs/api?endpoint={READY}"),
    Scene("docs-operation", f"/docs/api/create_endpoint?endpoint={READY}"),
    Scene("not-found", "/ml/endpoints/no-such-endpoint", status=404),
]


@contextmanager
def scene_objects(owner: FormClient, newcomer: FormClient, *, admin_token: str) -> Iterator[None]:
    """Creates the endpoints, secrets and tokens that the scenes show."""
    with running_sandbox() as upstream, running_sandbox() as held, running_sandbox() as refusing:
        held.hold("models")
        refusing.set_faults(
            on="models", status=401, message="Incorrect API key provided: it was revoked on Monday."
        )
        tags = {
            "tags-0-key": "team",
            "tags-0-value": "search",
            "tags-1-key": "stage",
            "tags-1-value": "production",
        }
        owner.create(
            LONG, upstream, **{"tags-0-key": "a-long-key-without-any-break-in-it", "tags-0-value": "v" * 80}
        )
        owner.create(FAILED, refusing)
        owner.create(UPDATING, held)
        owner.create(
            READY, upstream, description="Answers for the gallery.", rate_limit_endpoint="600", **tags
        )
        owner.post("/ml/secrets/scopes", scope="gallery")
        owner.post("/ml/secrets/gallery/put", key="openai", value="sk-gallery")
        owner.post("/ml/secrets/gallery/put", key="a-key-with-a-name-that-is-rather-long", value="sk-gallery")
        for number in range(KEYS):
            owner.post("/ml/secrets/gallery/put", key=f"key-{number}", value="sk-gallery")
        for number in range(TOKENS + 1):
            newcomer.post("/settings", comment=f"job {number}", days="30")
        owner.wait_for_state(READY, "Ready")
        owner.wait_for_state(LONG, "Ready")
        owner.wait_for_state(FAILED, "Not ready (Update failed)")
        _create_revoked_endpoint(owner, upstream)
        _create_takeover_endpoint(owner, upstream, admin_token)
        _create_model_host(owner, upstream, admin_token)
        yield


def _create_model_host(owner: FormClient, upstream: SandboxServer, admin_token: str) -> None:
    """A model host, whose models are foundation models, and a model of one's own."""
    body = {"name": "gallery", "base_url": upstream.base}
    headers = {"Authorization": f"Bearer {admin_token}"}
    model = {"name": "gallery", "kind": "deployment", "location": "team.models:Gallery"}
    own = requests.post(f"{owner.url}/api/2.0/registered-models", json=model, headers=headers, timeout=60)
    assert own.status_code == 200, own.text
    made = requests.post(f"{owner.url}/api/2.0/model-hosts", json=body, headers=headers, timeout=60)
    assert made.status_code == 200, made.text
    wait_until(lambda: FOUNDATION in owner.get("/ml/endpoints"), what="the models of the host")
    owner.wait_for_state(FOUNDATION, "Ready")


def _create_revoked_endpoint(owner: FormClient, upstream: SandboxServer) -> None:
    """An endpoint whose secret was deleted."""
    owner.post("/ml/secrets/gallery/put", key="short-lived", value="sk-gallery")
    reference = {
        "openai__openai_api_key": "{{secrets/gallery/short-lived}}",
        "openai__openai_api_key_plaintext": "",
    }
    owner.create(REVOKED, upstream, **reference)
    owner.wait_for_state(REVOKED, "Ready")
    owner.post("/ml/secrets/gallery/delete", key="short-lived")
    owner.wait_for_state(REVOKED, "Not ready")


def _create_takeover_endpoint(owner: FormClient, upstream: SandboxServer, admin_token: str) -> None:
    """An endpoint whose secret was submitted by a service principal that is now deactivated. The owner manages it, too."""

    def call(method: str, path: str, *, token: str = admin_token, **body: Any) -> Any:
        head = {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, f"{owner.url}/api/2.0/{path}", json=body, headers=head, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    service_principal = call("POST", "preview/scim/v2/ServicePrincipals", displayName="Deploys")
    who = service_principal["applicationId"]
    made = call("POST", "token-management/on-behalf-of/tokens", application_id=who)
    call("POST", "secrets/acls/put", scope="gallery", principal=who, permission="READ")
    block = {"openai_api_key": "{{secrets/gallery/openai}}", "openai_api_base": upstream.base}
    model = {"provider": "openai", "name": "gpt-4o", "task": "llm/v1/chat", "openai_config": block}
    config = {"served_entities": [{"name": "gpt-4o", "external_model": model}]}
    endpoint = call("POST", "serving-endpoints", token=made["token_value"], name=TAKEOVER, config=config)
    access = {"user_name": "owner@example.com", "permission_level": "CAN_MANAGE"}
    call("PATCH", f"permissions/serving-endpoints/{endpoint['id']}", access_control_list=[access])
    owner.wait_for_state(TAKEOVER, "Ready")
    off = [{"op": "replace", "path": "active", "value": False}]
    call("PATCH", f"preview/scim/v2/ServicePrincipals/{service_principal['id']}", Operations=off)
