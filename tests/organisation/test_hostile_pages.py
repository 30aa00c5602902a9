"""Nothing that a browser sends to a page is a server error on PostgreSQL, which refuses values that SQLite accepts, such as NUL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import quote, urlencode

import pytest
import requests
from django.urls import get_resolver

from tests.architecture.sources import ROOT
from tests.architecture.test_policies import routes
from tests.organisation.conftest import Database
from tests.support.pages import Page
from tests.support.server_alone import ServerAlone
from tests.support.sign_in import sign_in

TEXTS = [
    "\0",
    "a\0b",
    "x" * 3000,
    "9" * 30,
    "-1",
    "²",
    "ÅÅ\u2028\ufeff😀",
    "{{secrets/a/b}}",
    "\x7f\x1b[2J",
    "",
]
PAGES = [
    address
    for address, view in routes(get_resolver())
    if not address.startswith("api/") and view.__name__ != "sign_out"
]
HOLES = {"name": "known", "scope": "known", "value": "none", "version": "1"}
PARAMETERS = sorted(
    {
        name
        for folder in ("pages", "api/reference")
        for file in (ROOT / "serving_ui" / folder).rglob("*.py")
        for name in re.findall(r"GET(?:\.get\(|\[|\.getlist\()\"(\w+)\"", file.read_text())
    }
)
VALUES: list[str | bytes] = [
    "x" * 20_000,
    "http://[",
    "http://a:b:c",
    "\xe9",
    b"\xff\xfe",
    "%00",
    "",
    "q=1;q=2,,;",
    "bytes=0-",
    "null",
]
COOKIES = ["serving_ui_session", "serving_ui_csrf", "django_language", "messages"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, postgresql: Database) -> Iterator[ServerAlone]:
    settings = {"SERVING_UI_DATABASE_URL": postgresql.another("hostile")}
    made = ServerAlone(tmp_path_factory.mktemp("hostile"), settings=settings)
    made.command("migrate", "--noinput")
    made.command("collectstatic", "--noinput")
    with made.up():
        yield made


@pytest.fixture(scope="module")
def person(server: ServerAlone) -> Iterator[requests.Session]:
    """An admin with an endpoint, a secret scope and a model of their own, all named `known`."""
    with requests.Session() as session:
        sign_in(session, server.url + server.command("sign_in_link", "a@example.com", "--admin"))
        token = server.command("create_token", "a@example.com")
        model = {"provider": "openai", "name": "gpt-4o", "task": "llm/v1/chat",
                 "openai_config": {"openai_api_key_plaintext": "sk-known"}}  # fmt: skip
        for path, body in (
            ("serving-endpoints", {"name": "known", "config": {"served_entities": [{"external_model": model}]}}),
            ("secrets/scopes/create", {"scope": "known"}),
            ("registered-models", {"name": "known", "kind": "deployment", "location": "a:B"}),
        ):  # fmt: skip
            answer = requests.post(
                f"{server.url}/api/2.0/{path}", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60
            )  # fmt: skip
            assert answer.ok, answer.text
        yield session


def spelled(address: str, **changed: str) -> str:
    """The path of a route with its parameters filled in."""
    found = address
    for name in re.findall(r"<str:(\w+)>", address):
        found = found.replace(f"<str:{name}>", quote({**HOLES, **changed}[name], safe=""))
    return f"/{found}"


def forms(page: Page) -> dict[str, str]:
    """The fields that the forms of the page would send, including those of their buttons."""
    named = [*page.root.all("button"), *page.root.all("select")]
    return page.fields() | {
        each.attrs["name"]: each.attrs.get("value", "1") for each in named if "name" in each.attrs
    }


@pytest.mark.parametrize("address", PAGES)
def test_no_path_or_parameter_of_a_page_is_a_server_error(
    server: ServerAlone, person: requests.Session, address: str
):
    wrong = {}
    holes = re.findall(r"<str:(\w+)>", address)
    paths = [spelled(address, **{hole: text}) for hole in holes for text in TEXTS if text]
    for text in TEXTS:
        paths.append(f"{spelled(address)}?{urlencode(dict.fromkeys(PARAMETERS, text))}")
    # The answer to one parameter may hide those after it, so the worst text is in each alone too.
    paths += [f"{spelled(address)}?{name}={quote(TEXTS[0])}" for name in PARAMETERS]
    for path in paths:
        answer = person.get(server.url + path, allow_redirects=False, timeout=60)
        if answer.status_code >= 500:
            wrong[path[:200]] = answer.status_code
    assert not wrong


@pytest.mark.parametrize("address", PAGES)
def test_no_form_value_is_a_server_error(server: ServerAlone, person: requests.Session, address: str):
    """Each value in each field of each form of the page, sent to the address of the page."""
    shown = person.get(server.url + spelled(address), timeout=60)
    sent = forms(Page(shown)) if shown.ok and "<form" in shown.text else {"comment": "a", "days": "30"}
    sent["csrfmiddlewaretoken"] = person.cookies["serving_ui_csrf"]
    wrong = {}
    for name in sent:
        for text in TEXTS:
            status = posted(person, server.url + spelled(address), {**sent, name: text})
            if status >= 500 or ("\0" in text and status < 400):
                wrong[f"{name}={text[:20]!r}"] = status
    assert posted(person, server.url + spelled(address), {**sent, "a\0b": "c"}) == 400
    assert not wrong


def posted(person: requests.Session, url: str, form: dict[str, str]) -> int:
    return person.post(url, form, allow_redirects=False, timeout=60).status_code


@pytest.mark.parametrize(
    "charset", ["utf-7", "utf-16", "unicode_escape", "zlib", "undefined", "idna", "latin-1", "no"]
)
def test_a_form_in_another_charset_than_utf_8_is_400(
    server: ServerAlone, person: requests.Session, charset: str
):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n%b\r\n'
        b'--x\r\nContent-Disposition: form-data; name="comment"\r\n\r\n+2AA-\\ud800\r\n--x--\r\n'
    ) % person.cookies["serving_ui_csrf"].encode()
    kind = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    answer = person.post(f"{server.url}/settings", data=body, headers=kind, timeout=60)
    assert answer.status_code == 400
    assert "UTF-8" in answer.text


def test_a_file_in_a_form_is_ignored(server: ServerAlone, person: requests.Session):
    form = {"comment": "with a file", "days": "30", "csrfmiddlewaretoken": person.cookies["serving_ui_csrf"]}
    answer = person.post(
        f"{server.url}/settings", form, files={"file": ("a.bin", b"\0" * 100_000)}, allow_redirects=False, timeout=60
    )  # fmt: skip
    assert answer.status_code == 303


@pytest.mark.parametrize("name", COOKIES)
@pytest.mark.parametrize(
    "value", ['"\\000"', '"aaaaaaaaaaaa\\000aaaaaaaaaaaaaaaaaaaaa"', "x" * 5000, '"\\"', "=;="]
)
def test_no_cookie_is_a_server_error(server: ServerAlone, name: str, value: str):
    """A request with an invalid cookie has no session."""
    for path in ("/sign-in", "/settings", "/docs/api", "/api/2.0/openapi.json"):
        answer = requests.get(
            server.url + path, headers={"Cookie": f"{name}={value}"}, allow_redirects=False, timeout=60
        )
        assert answer.status_code in (200, 302, 401), f"{path} {answer.status_code}"
    answer = requests.post(f"{server.url}/sign-out", headers={"Cookie": f"{name}={value}"}, timeout=60)
    assert answer.status_code == 403


HEADERS = ["Origin", "Referer", "HX-Current-URL", "HX-Request", "HX-Target", "HX-Prompt", "Accept-Language", "Host",
           "X-CSRFToken", "Content-Type", "X-Reply", "If-None-Match", "Range", "Accept-Encoding", "Content-Encoding"]  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_no_header_is_a_server_error(server: ServerAlone, person: requests.Session, name: str):
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in person.cookies)
    for value in VALUES:
        for method, path in (
            ("GET", "/ml/endpoints"),
            ("POST", "/ml/endpoints/create/fields"),
            ("GET", "/static/app.js"),
        ):
            connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.putrequest(method, path, skip_host=name == "Host", skip_accept_encoding=True)
            connection.putheader("Cookie", cookies)
            connection.putheader("Content-Length", "0")
            connection.putheader(name, value)
            connection.endheaders()
            assert connection.getresponse().status < 500, f"{path} {value!r}"
            connection.close()
