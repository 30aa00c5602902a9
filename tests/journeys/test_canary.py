"""No secret appears in a response, a log line, a message to the worker, a file or a table.

One run of the product with canary values as its secrets, through successful and failing operations; the tests search its traces.
"""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
import requests

from tests.support.canary import Search, files, tables
from tests.support.product import WORKER, Person, Product
from tests.support.sandbox import SandboxServer, running_sandbox
from tests.support.suspending import suspended
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

KINDS = ("pasted", "edited", "scope", "replaced", "refused", "unfinished", "misplaced", "failing", "typed")
# They contain characters that JSON, URLs and HTML encode differently.
CANARIES = {kind: f"sk-canary/{kind}+7f3a9c51&e2d84b60=" for kind in KINDS}


@dataclass
class Traces:
    """What the run has left: responses, messages to the worker, keys that the provider received, and the stopped product."""

    product: Product
    provider: SandboxServer
    answers: list[tuple[str, bytes]] = field(default_factory=list)
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)

    def add_response(self, response: requests.Response) -> None:
        where = f"{response.status_code} for {response.request.method} {response.request.path_url}"
        headers = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
        self.answers.append((where, headers.encode() + b"\n\n" + response.content))


@pytest.fixture(scope="session")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:
    product = Product(tmp_path_factory.mktemp("canary"), SERVING_UI_LOG_LEVEL="DEBUG")
    with running_sandbox() as provider:
        found = Traces(product, provider)
        product.on_response = found.add_response
        with product.up(), product.person("owner@example.com") as owner:
            found.tokens.add(owner.token)
            for journey in (succeed, fail, mistype, query, look_around):
                journey(owner, provider, found)
                found.keys |= {call["key"] for call in provider.requests()}
                provider.reset()
            assert not Search(CANARIES.values()).find_all(tables(product.data / "serving_ui.sqlite3"))
            assert not Search(CANARIES.values()).find_all(files(product.data)), "while it runs"
            product.program.signal(signal.SIGTERM)
            assert product.program.wait_for_exit() == 0
        yield found


def succeed(owner: Person, provider: SandboxServer, found: Traces) -> None:
    """Pasted, edited and referenced keys that work. The worker is suspended while the test copies the first messages to it."""
    product = owner.product
    with suspended(product.program.process.pid, product.process(WORKER)):
        owner.create("pasted", base=provider.base, openai_api_key_plaintext=CANARIES["pasted"])
        found.messages += files(product.data / "broker")
    owner.wait_for_state("pasted", "Ready")
    owner.edit("pasted", base=provider.base, openai_api_key_plaintext=CANARIES["edited"])
    owner.wait_for_state("pasted", "Ready")
    owner.post("/ml/secrets/scopes", {"scope": "team"})
    owner.post("/ml/secrets/team/put", {"key": "openai", "value": CANARIES["scope"]})
    owner.create("referring", base=provider.base, openai_api_key="{{secrets/team/openai}}")
    owner.wait_for_state("referring", "Ready")
    owner.query("referring")
    owner.post("/ml/secrets/team/put", {"key": "openai", "value": CANARIES["replaced"]})
    owner.query("pasted")
    wait_until(
        lambda: (owner.query("referring"), provider.requests()[-1]["key"])[1] == CANARIES["replaced"],
        what="the replaced key to be sent",
    )


def fail(owner: Person, provider: SandboxServer, found: Traces) -> None:
    """Credential checks at a provider whose error message quotes the key."""
    quoted = f"Incorrect API key provided: {CANARIES['refused']}. You may find yours on our page."
    for status, state in ((401, "Not ready (Update failed)"), (403, "Ready")):
        name = f"refused-{status}"
        provider.set_faults(on="models", status=status, message=quoted)
        owner.create(name, base=provider.base, openai_api_key_plaintext=CANARIES["refused"])
        owner.wait_for_state(name, state)
    provider.set_faults(on="models", status=503, message=quoted)
    owner.create("refused-503", base=provider.base, openai_api_key_plaintext=CANARIES["refused"])
    wait_until(
        lambda: "answered 503" in owner.get("/ml/endpoints/refused-503").text, what="the reason on the page"
    )
    owner.cancel("refused-503")


def mistype(owner: Person, provider: SandboxServer, found: Traces) -> None:
    """Forms with a key that are refused or redrawn, and keys in fields that are not for keys."""
    key = CANARIES["unfinished"]
    owner.create("not a name", base=provider.base, status=422, openai_api_key_plaintext=key)
    owner.create("metadata", base="http://169.254.169.254/v1", status=422, openai_api_key_plaintext=key)
    owner.create("misplaced", base=provider.base, status=422, openai_api_key=CANARIES["misplaced"])
    for step in ({"_redraw": "1"}, {"_add_tag": "1"}, {"_select": "1"}):
        form = {"name": "redrawn", "provider": "openai", "openai__openai_api_key_plaintext": key, **step}
        owner.post("/ml/endpoints/create", form, status=200)
        owner.post("/ml/endpoints/create/fields", form, status=200)
    owner.edit("pasted", base="http://169.254.169.254/", status=422, openai_api_key_plaintext=key)
    owner.post("/ml/secrets/team/put", {"key": "not a key", "value": CANARIES["typed"]}, status=422)
    owner.post("/ml/secrets/none/put", {"key": "openai", "value": CANARIES["typed"]}, status=404)


def query(owner: Person, provider: SandboxServer, found: Traces) -> None:
    """Queries that the provider refuses with a message that quotes the key, with a status and within a stream."""
    owner.create("failing", base=provider.base, openai_api_key_plaintext=CANARIES["failing"])
    owner.wait_for_state("failing", "Ready")
    quoted = f"The key {CANARIES['failing']} is out of money."
    for status in (400, 401, 403, 404, 429, 500, 503):
        provider.set_faults(on="chat/completions", status=status, message=quoted)
        assert owner.query("failing").status >= 400
    request = '{"messages": [{"role": "user", "content": "Hello"}]}'
    owner.post("/ml/endpoints/failing/query", {"request": request}, status=200)
    provider.set_faults(on="chat/completions", status=0, failed_after=1, message=quoted)
    streamed = request.replace('{"messages"', '{"stream": true, "messages"')
    with requests.Session() as session:
        url = f"{owner.product.url}/serving-endpoints/failing/invocations"
        headers = {"Authorization": f"Bearer {owner.token}", "Content-Type": "application/json"}
        answer = session.post(url, streamed, headers=headers, timeout=60)
        assert "error" in answer.text
        found.add_response(answer)


def look_around(owner: Person, provider: SandboxServer, found: Traces) -> None:
    """Every page that shows an endpoint or a secret, and one that does not exist."""
    for name in ("pasted", "referring", "failing", "refused-401", "refused-403", "refused-503"):
        for path in ("", "?tab=events", "?tab=versions", "?tab=permissions", "/edit", "/query", "/state"):
            owner.get(f"/ml/endpoints/{name}{path}")
    for path in ("/ml/endpoints", "/ml/secrets", "/settings", "/ml/endpoints/create", "/nowhere"):
        owner.get(path)
    owner.post("/ml/endpoints/refused-401/retry", {})
    owner.post("/ml/secrets/team/delete", {"key": "openai"})
    owner.post("/ml/endpoints/failing/delete", {"typed_name": "failing"})


@pytest.fixture(scope="session")
def search() -> Search:
    return Search(CANARIES.values())


def test_the_run_has_used_its_secrets(traces: Traces):
    sent = {"pasted", "edited", "scope", "replaced", "refused", "failing"}
    assert traces.keys >= {CANARIES[kind] for kind in sent}
    assert traces.messages
    assert len(traces.answers) > 100


@pytest.mark.parametrize("disguise", ["{}", '{{"key": "{}"}}', "x{}", "xx{}y", "Bearer {}"])
def test_the_search_finds_a_secret_in_clear_and_in_base64(search: Search, disguise: str):
    text = disguise.format(CANARIES["scope"])
    for content in (text.encode(), quote(text).encode(), base64.b64encode(text.encode())):
        assert search.find(b"before" + content + b"after") == {CANARIES["scope"]}


def test_no_answer_holds_a_secret(traces: Traces, search: Search):
    assert not search.find_all(traces.answers)


def test_no_log_line_holds_a_secret_or_an_access_token(traces: Traces):
    output = [
        (line[:60], line.encode()) for line in (*traces.product.program.out, *traces.product.program.err)
    ]
    assert output
    assert not Search([*CANARIES.values(), *traces.tokens]).find_all(output)


def test_no_message_to_the_worker_holds_a_secret(traces: Traces, search: Search):
    assert not search.find_all(traces.messages)


def test_no_file_holds_a_secret_or_an_access_token(traces: Traces):
    found = list(files(traces.product.data))
    assert {"serving_ui.sqlite3", "vault.key"} <= {name for name, _content in found}
    assert not Search([*CANARIES.values(), *traces.tokens]).find_all(found)


def test_no_table_holds_a_secret_or_an_access_token(traces: Traces):
    rows = list(tables(traces.product.data / "serving_ui.sqlite3"))
    assert any(b"vault_storedsecret" in row for _where, row in rows)
    assert not Search([*CANARIES.values(), *traces.tokens]).find_all(rows)
