"""One running product whose providers' addresses lead to the sandbox, and the accounts of its users."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import requests
from databricks.sdk import WorkspaceClient

from serving_ui.catalogue import registry
from tests.support.product import Person, Product
from tests.support.sandbox import SandboxServer, running_sandbox

OWNER, OTHER, ADMIN = "owner@example.com", "other@example.com", "boss@example.com"
SCOPE, KEY = "clients", "openai"
_NUMBERS = count(1)


@dataclass
class Account:
    """A user and their access token."""

    email: str
    url: str
    token: str = field(repr=False)

    def client(self) -> WorkspaceClient:
        return WorkspaceClient(host=self.url, token=self.token)

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """Send a plain request, and check what the API promises for every response."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        answer = requests.request(
            method, self.url + path, json=body, headers=headers, timeout=60, allow_redirects=False, **options
        )
        assert answer.headers["Content-Type"] == "application/json", answer.text[:500]
        assert answer.status_code in {200, 400, 401, 403, 404, 409, 429, 501, 503}, answer.text[:500]
        assert isinstance(answer.json(), dict)
        if answer.status_code != 200:
            assert {"error_code", "message"} <= set(answer.json())
        return answer


@pytest.fixture(scope="session")
def provider() -> Iterator[SandboxServer]:
    """The sandbox at the providers' default addresses."""
    with running_sandbox() as server:
        yield server


@pytest.fixture(autouse=True)
def reset_provider(provider: SandboxServer) -> Iterator[None]:
    yield
    provider.reset()


@pytest.fixture(scope="module", autouse=True)
def collect_connections() -> Iterator[None]:
    """The clients leave open connections to the garbage collector; collect them here, without their warnings."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory, provider: SandboxServer) -> Iterator[Product]:
    vendors = [*registry.PROVIDERS, "microsoft-entra"]
    settings = {f"SERVING_UI_BASE_URL_{each.upper().replace('-', '_')}": provider.url for each in vendors}
    with Product(tmp_path_factory.mktemp("clients"), **settings).up() as started:
        yield started


@pytest.fixture(scope="session")
def account(product: Product) -> Callable[..., Account]:
    """A function that creates a user with a token."""

    def make(email: str, *flags: str) -> Account:
        return Account(email, product.url, product.command("create_token", email, *flags))

    return make


@pytest.fixture(scope="session")
def owner(account: Callable[..., Account]) -> Account:
    return account(OWNER)


@pytest.fixture(scope="session")
def other(account: Callable[..., Account]) -> Account:
    return account(OTHER)


@pytest.fixture(scope="session")
def admin(account: Callable[..., Account]) -> Account:
    return account(ADMIN, "--admin")


@pytest.fixture(scope="session")
def person(product: Product, owner: Account) -> Iterator[Person]:
    """The owner, signed in to the pages."""
    with product.person(OWNER) as someone:
        yield someone


@pytest.fixture(scope="session")
def secret(owner: Account) -> str:
    """The reference of a secret that the owner has stored."""
    workspace = owner.client()
    workspace.secrets.create_scope(SCOPE)
    workspace.secrets.put_secret(SCOPE, KEY, string_value="sk-of-the-clients")
    return "{{secrets/" + f"{SCOPE}/{KEY}" + "}}"


@pytest.fixture
def environment(owner: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Sets only the environment variables that the Databricks clients need."""
    monkeypatch.setenv("DATABRICKS_HOST", owner.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", owner.token)
    return owner


@pytest.fixture
def workspace(environment: Account, secret: str) -> WorkspaceClient:
    """The Databricks SDK as the owner."""
    return WorkspaceClient()


@pytest.fixture
def deployments(environment: Account, secret: str) -> Any:
    """MLflow's client as the owner."""
    from mlflow.deployments import get_deploy_client

    return get_deploy_client("databricks")


@pytest.fixture
def name() -> str:
    """An endpoint name that is not used yet."""
    return f"endpoint-{next(_NUMBERS)}"
