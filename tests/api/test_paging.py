"""Long lists are paged: each row that exists the whole time appears exactly once, while others are added and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.core import signing

from serving_ui.accounts.models import AccessToken, User
from serving_ui.api import paging
from serving_ui.endpoints.events import EventKind
from serving_ui.endpoints.models import ConfigVersion, Endpoint, EndpointEvent, SecretBinding
from serving_ui.lib import clock, keyset
from serving_ui.vault.models import Scope, StoredSecret
from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db
CHAT = "/serving-endpoints/chat"
SCIM = "/preview/scim/v2/Users"
NOW = clock.now()


def endpoints(owner: User, count: int, mark: str) -> None:
    first = Endpoint.objects.select_related("latest").get(name="chat")
    Endpoint.objects.bulk_create(
        Endpoint(
            workspace_id=first.workspace_id, name=f"{mark}{number}", creator=owner, created_at=NOW,
            modified_at=clock.now(), latest_id=first.latest_id,
        )
        for number in range(count)
    )  # fmt: skip


def events(owner: User, count: int, mark: str) -> None:
    endpoint = Endpoint.objects.get(name="chat")
    EndpointEvent.objects.bulk_create(
        EndpointEvent(
            endpoint=endpoint, at=NOW + timedelta(seconds=number // 3), type=EventKind.FAILED, generation=1,
            params={"message": f"{mark}{number}", "version": 1},
        )
        for number in range(count)
    )  # fmt: skip


def versions(owner: User, count: int, mark: str) -> None:
    first = Endpoint.objects.select_related("latest").get(name="chat")
    assert first.latest
    newest = first.versions.order_by("-number").values_list("number", flat=True)[0]
    ConfigVersion.objects.bulk_create(
        ConfigVersion(
            endpoint=first, number=newest + 1 + number, spec=first.latest.spec, creator=owner, created_at=NOW,
            deadline=NOW, message=f"{mark}{number}",
        )
        for number in range(count)
    )  # fmt: skip


def tokens(owner: User, count: int, mark: str) -> None:
    AccessToken.objects.bulk_create(
        AccessToken(
            user=owner, comment=f"{mark}{number}", digest=f"{mark}{number}", created_at=NOW + timedelta(seconds=number // 3)
        )
        for number in range(count)
    )  # fmt: skip


def scopes(owner: User, count: int, mark: str) -> None:
    Scope.objects.bulk_create(
        Scope(name=f"{number}{mark}", creator=owner, created_at=NOW) for number in range(count)
    )


def secrets(owner: User, count: int, mark: str) -> None:
    scope, _new = Scope.objects.get_or_create(name="keys", defaults={"creator": owner, "created_at": NOW})
    StoredSecret.objects.bulk_create(
        StoredSecret(scope=scope, key=f"{number}{mark}", key_id="k", ciphertext="c", updated_at=NOW)
        for number in range(count)
    )


def takeovers(owner: User, count: int, mark: str) -> None:
    gone, _new = User.objects.get_or_create(email="gone@example.com", defaults={"is_active": False})
    version = Endpoint.objects.get(name="chat").latest
    SecretBinding.objects.bulk_create(
        SecretBinding(
            version=version, place=f"{mark}{number}", scope="keys", key=f"{number}{mark}", authoriser=gone
        )
        for number in range(count)
    )  # fmt: skip


@dataclass(frozen=True)
class Listed:
    """A list of the API: its path, the field with its rows, a function that identifies a row, and one that adds rows."""

    path: str
    name: str
    mark: Callable[[dict[str, Any]], str]
    grow: Callable[[User, int, str], None]
    model: type[Any]
    column: str
    always: bool = False

    def __str__(self) -> str:
        return self.name

    def shrink(self, mark: str) -> None:
        """Delete the rows with this mark."""
        self.model.objects.filter(**{f"{self.column}__icontains": mark}).delete()


LISTS = [
    Listed("/serving-endpoints", "endpoints", lambda row: str(row["name"]), endpoints, Endpoint, "name"),
    Listed(f"{CHAT}/events", "events", lambda row: str(row["message"]), events, EndpointEvent, "params__message", always=True),
    Listed(f"{CHAT}/config-versions", "config_versions", lambda row: str(row["message"]), versions, ConfigVersion, "message", always=True),
    Listed("/token/list", "token_infos", lambda row: str(row["comment"]), tokens, AccessToken, "comment"),
    Listed("/token-management/tokens", "token_infos", lambda row: str(row["comment"]), tokens, AccessToken, "comment"),
    Listed("/secrets/scopes/list", "scopes", lambda row: str(row["name"]), scopes, Scope, "name"),
    Listed("/secrets/list?scope=keys", "secrets", lambda row: str(row["key"]), secrets, StoredSecret, "key"),
    Listed("/secrets/takeovers/list", "takeovers", lambda row: str(row["secret"]), takeovers, SecretBinding, "key"),
]  # fmt: skip
every_list = pytest.mark.parametrize("listed", LISTS, ids=[each.path for each in LISTS])


def joined(path: str, query: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}{query}" if query else path


def read_pages(api: Caller, listed: Listed, query: str = "max_results=7") -> Iterator[list[str]]:
    """The marks of the rows of each page."""
    more = query
    while True:
        answer = api.get(joined(listed.path, more))
        yield [listed.mark(row) for row in answer[listed.name]]
        if "next_page_token" not in answer:
            return
        more = f"{query}&page_token={quote(answer['next_page_token'])}"


@pytest.fixture
def created(make_endpoint: Callable[..., Endpoint], admin: User) -> Callable[[Listed], None]:
    def furnish(listed: Listed) -> None:
        make_endpoint("chat", actor=admin)
        listed.grow(admin, 40, "-here-")

    return furnish


@every_list
def test_the_pages_contain_every_row_once(as_admin: Caller, created: Callable[..., None], listed: Listed):
    created(listed)
    pages = list(read_pages(as_admin, listed))
    listed_ids = [mark for page in pages for mark in page if "-here-" in mark]
    assert len(listed_ids) == len(set(listed_ids)) == 40
    assert {len(page) for page in pages[:-1]} == {7}
    assert 0 < len(pages[-1]) <= 7


@every_list
def test_remaining_rows_appear_exactly_once_while_others_are_added_and_deleted(
    as_admin: Caller, created: Callable[..., None], listed: Listed, admin: User
):
    created(listed)
    for number in range(3):
        listed.grow(admin, 10, f"-other-{number}-")
    listed_ids = []
    for number, page in enumerate(read_pages(as_admin, listed)):
        listed_ids += [mark for mark in page if "-here-" in mark]
        if number < 3:
            listed.shrink(f"-other-{number}-")
        listed.grow(admin, 5, f"-new-{number}-") if number < 4 else None
        # A changed row keeps its position.
        Endpoint.objects.filter(name="39-here-").update(modified_at=clock.now())
    assert len(listed_ids) == len(set(listed_ids)) == 40


@every_list
def test_without_page_parameters_the_whole_list_is_returned_where_databricks_does(
    as_admin: Caller, created: Callable[..., None], listed: Listed, admin: User
):
    created(listed)
    listed.grow(admin, 200, "-more-")
    answer = as_admin.get(listed.path)
    if listed.always:
        assert len(answer[listed.name]) == paging.DEFAULT_SIZE
        assert answer["next_page_token"]
    else:
        assert len(answer[listed.name]) >= 240
        assert "next_page_token" not in answer


@every_list
@pytest.mark.parametrize("query", ["", "max_results=7", "page_size=7", "max_results=0", "max_results=99999"])
def test_a_list_needs_a_constant_number_of_database_queries(
    as_admin: Caller,
    created: Callable[..., None],
    listed: Listed,
    query: str,
    django_assert_num_queries: Any,
):
    created(listed)
    address = joined(listed.path, query)
    with django_assert_num_queries(_queries(listed)) as few:
        before = as_admin.get(address)[listed.name]
    listed.grow(User.objects.get(is_admin=True), 150, "-more-")
    with django_assert_num_queries(len(few)):
        after = as_admin.get(address)[listed.name]
    size = {"max_results=7": 7, "page_size=7": 7, "max_results=0": paging.DEFAULT_SIZE}.get(query)
    assert len(after) == size if size else len(after) >= min(len(before) + 150, paging.DEFAULT_SIZE)


def _queries(listed: Listed) -> int:
    """The expected number: the token, the parent object if the list has one, and the list."""
    return 3 if listed.path in (LISTS[1].path, LISTS[2].path, LISTS[6].path) else 2


@every_list
def test_a_page_token_of_another_list_or_a_changed_one_is_refused(
    as_admin: Caller, api: Caller, created: Callable[..., None], listed: Listed, admin: User
):
    created(listed)
    good = as_admin.get(joined(listed.path, "max_results=7"))["next_page_token"]
    other = next(each for each in LISTS if each is not listed and each.path != listed.path)
    other.grow(admin, 20, "-other-")
    foreign = as_admin.get(joined(other.path, "max_results=7"))["next_page_token"]
    forged = signing.dumps(["x", 1], salt="another")
    for token in (foreign, forged, good[:-1], good + "x", "x", "é", "::::", "a:b:c", "0"):
        refused = as_admin.request("GET", joined(listed.path, f"page_token={quote(token)}"))
        assert refused.error == (400, "INVALID_PARAMETER_VALUE")
        assert refused.body["message"].startswith("This page_token does not belong to this list.")


def test_a_page_token_is_valid_for_its_user_and_filter_only(
    as_admin: Caller, api: Caller, admin: User, owner: User
):
    for user in (admin, owner):
        tokens(user, 20, f"-{user.pk}-")
    path = f"/token-management/tokens?created_by_username={owner.email}&max_results=7"
    page_token = as_admin.get(path)["next_page_token"]
    assert as_admin.request("GET", f"{path}&page_token={quote(page_token)}").status == 200
    others = f"/token-management/tokens?created_by_username={admin.email}&max_results=7&page_token={quote(page_token)}"
    assert as_admin.request("GET", others).status == 400
    mine = as_admin.get("/token/list?max_results=7")["next_page_token"]
    assert api.request("GET", f"/token/list?max_results=7&page_token={quote(mine)}").status == 400


@pytest.mark.parametrize("query", ["max_results=many", "page_size=-1", "max_results=1.5", "max_results=²"])
def test_an_invalid_page_size_is_refused(api: Caller, query: str):
    assert api.request("GET", f"/token/list?{query}").error == (400, "INVALID_PARAMETER_VALUE")


def test_all_of_two_thousand_events_are_listed(as_admin: Caller, created: Callable[..., None], admin: User):
    created(LISTS[1])
    events(admin, 2350, "-more-")
    pages = list(read_pages(as_admin, LISTS[1], "max_results=1000"))
    assert [len(page) for page in pages][:2] == [1000, 1000]
    assert sum(len(page) for page in pages) == EndpointEvent.objects.count() == 2391
    times = [row["timestamp"] for row in as_admin.get(f"{CHAT}/events")["events"]]
    assert times == sorted(times, reverse=True)


def test_the_logs_of_an_entity_are_its_newest_lines(
    as_admin: Caller, created: Callable[..., None], admin: User
):
    created(LISTS[1])
    EndpointEvent.objects.update(entity="entity")
    events(admin, 1500, "-more-")
    EndpointEvent.objects.filter(params__message__icontains="-more-").update(entity="another")
    lines = as_admin.get(f"{CHAT}/served-models/entity/logs")["logs"].splitlines()
    assert len(lines) == 41


# Users through SCIM

PEOPLE = 120


def people(mark: str, count: int) -> list[User]:
    return [User.objects.create(email=f"{number:03}-{mark}@example.com") for number in range(count)]


def delete_some_and_add_others(number: int, others: list[User]) -> None:
    """Delete up to four of `others`, which are spread over the list, and add three users."""
    for _gone in range(4):
        if others:
            others.pop(0).delete()
    people(f"new-{number}", 3)


def listed_ids(answer: dict[str, Any]) -> list[str]:
    return [each["userName"] for each in answer["Resources"] if "-here@" in each["userName"]]


@pytest.fixture
def others() -> list[User]:
    """Users to delete, in between those that remain."""
    found = []
    for number in range(PEOPLE):
        User.objects.create(email=f"{number:03}-here@example.com")
        if number % 3 == 0:
            found.append(User.objects.create(email=f"{number:03}-other@example.com"))
    return found


@pytest.mark.parametrize(
    "more", ["", "&sortBy=userName", "&sortBy=userName&sortOrder=descending", "&sortBy=id", "&sortBy=active"]
)
@pytest.mark.parametrize("count", [7, 25, 100])
def test_a_list_read_by_start_index_contains_each_remaining_user_once(
    api: Caller, others: list[User], count: int, more: str
):
    """Like the SDK: increase startIndex by the number of results until a page is empty."""
    found: list[str] = []
    start = number = 1
    while (answer := api.get(f"{SCIM}?startIndex={start}&count={count}{more}"))["Resources"]:
        found += listed_ids(answer)
        start += len(answer["Resources"])
        delete_some_and_add_others(number := number + 1, others) if number < 20 else None
    assert len(found) == len(set(found)) == PEOPLE


@pytest.mark.parametrize(
    "more", ["", "&sortBy=userName", "&sortBy=displayName", "&filter=active eq true".replace(" ", "%20")]
)
def test_a_list_read_by_cursor_contains_each_remaining_user_once(api: Caller, others: list[User], more: str):
    found: list[str] = []
    cursor, number = "", 1
    while True:
        answer = api.get(f"{SCIM}?cursor={quote(cursor)}&count=25{more}")
        assert "startIndex" not in answer
        found += listed_ids(answer)
        if not (cursor := answer.get("nextCursor", "")):
            break
        delete_some_and_add_others(number := number + 1, others) if number < 20 else None
    assert len(found) == len(set(found)) == PEOPLE


def test_an_invalid_cursor_is_refused(api: Caller, others: list[User]):
    good = api.get(f"{SCIM}?cursor=&count=5")["nextCursor"]
    assert api.request("GET", f"{SCIM}?count=5&cursor={quote(good)}").status == 200
    for path in (
        f"{SCIM}?cursor=x",
        f"{SCIM}?sortBy=userName&cursor={quote(good)}",
        f"/preview/scim/v2/Groups?cursor={quote(good)}",
    ):
        assert api.request("GET", path).error == (400, "INVALID_PARAMETER_VALUE")


def test_a_page_in_the_middle_can_be_requested_first(api: Caller, others: list[User]):
    everybody = [each["userName"] for each in api.get(f"{SCIM}?count=10000")["Resources"]]
    assert everybody == list(User.objects.order_by("created_at", "pk").values_list("email", flat=True))
    middle = api.get(f"{SCIM}?startIndex=41&count=10")
    assert (middle["startIndex"], middle["totalResults"]) == (41, len(everybody))
    assert [each["userName"] for each in middle["Resources"]] == everybody[40:50]


def test_the_number_of_remembered_page_ends_is_bounded(api: Caller, others: list[User]):
    from serving_ui.api.scim import pagination

    for count in range(1, 40):
        api.get(
            f"{SCIM}?startIndex=1&count={count}&sortOrder={'x' * 6000}&filter="
            + quote(f'userName co "{"x" * 1500}" or active eq true')
        )
    page_ends = pagination._page_ends._ends
    assert 0 < len(page_ends) <= pagination.MAX_PAGE_ENDS
    assert max(len(key) + len(cursor) for key, (_until, cursor) in page_ends.items()) < 500


def test_a_page_of_size_zero_is_empty(others: list[User]):
    found = keyset.page(User.objects.all(), order=("pk",), key=lambda row: (row.pk,), size=0, list_id="x")
    assert (found.rows, found.next) == ([], "")
