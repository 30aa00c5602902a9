"""What is said about one operation of the API. The document, the page, the examples and the tests all read the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from serving_ui.catalogue.translatable import TranslatableText, _

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
ENDPOINTS = "/api/2.0/serving-endpoints"
INVOCATIONS = "/serving-endpoints"
_HOLE = re.compile(r"{(\w+)}")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One value in the address: a part of its path or of its query."""

    name: str
    text: TranslatableText
    required: bool = False
    type: str = "string"
    choices: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": self.type}
        if self.choices:
            found["enum"] = list(self.choices)
        if self.pattern:
            found["pattern"] = self.pattern
        return found


PAGES = (
    Parameter(
        name="max_results",
        text=_("How many at most, up to 1,000. Without it and page_token everything comes at once."),
        type="integer",
    ),
    Parameter(name="page_size", text=_("The same under another name."), type="integer"),
    Parameter(name="page_token", text=_("The next_page_token of the page before.")),
)
ALWAYS_IN_PAGES = (
    Parameter(name="max_results", text=_("How many at most: 100 if not given, up to 1,000."), type="integer"),
    *PAGES[1:],
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    text=_(
        "Optional; a UUID is a good one. A call that is repeated with the same key within a day is not carried out again: it gets "
        "the first answer, with the header Idempotent-Replayed. Another body under the same key is refused."
    ),
    pattern=r"^[\x21-\x7e]{1,255}$",
)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one address.

    `example` is a body that works; `sdk` and `mlflow` name what a client calls for it (`serving_endpoints.create`). `refusals` are
    the statuses that it may have beside those of every operation.
    """

    method: Method
    path: str
    group: str
    name: str
    """Unique; snake case, as the SDK would call it: `list_endpoints`."""
    summary: TranslatableText
    text: TranslatableText = field(default_factory=lambda: TranslatableText(""))
    query: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    body_required: bool = True
    answer: type[BaseModel] | None = None
    """None: an empty object."""
    media: str = "application/json"
    refusals: tuple[int, ...] = ()
    example: Mapping[str, Any] | None = None
    sdk: str = ""
    mlflow: str = ""
    ours: bool = False
    """The original has no such operation."""
    refused: bool = False
    """There for its clients, and always refused with a sentence."""
    admins: bool = False
    public: bool = False

    @property
    def holes(self) -> list[str]:
        """The names in the path, in order."""
        return _HOLE.findall(self.path)

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path

    @property
    def is_idempotent_by_key(self) -> bool:
        """Whether the header Idempotency-Key is honoured."""
        return self.method == "POST" and self.path.startswith("/api/2.0/") and not self.refused

    @property
    def is_a_query(self) -> bool:
        """Whether the gateway hands it on to a provider."""
        return self.method == "POST" and not self.path.startswith("/api/")

    @property
    def headers(self) -> list[Parameter]:
        """What may be said in headers beside the token."""
        return [IDEMPOTENCY_KEY] if self.is_idempotent_by_key else []

    @property
    def statuses(self) -> list[int]:
        """Every status that it may answer, the good one first."""
        good = [] if self.refused else [200]
        always = set() if self.public else {400, 401}
        repeated = {409} if self.method == "POST" and self.path.startswith("/api/2.0/") else set()
        return good + sorted(always | repeated | set(self.refusals))
