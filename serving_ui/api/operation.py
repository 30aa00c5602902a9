"""What is said about one operation of the API. The OpenAPI document, the page at /docs/api, the code samples and the tests read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from serving_ui.catalogue.translatable import TranslatableText, _

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
API = "/api/2.0/"
_PATH_PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A value in the path, the query or a header. The request handler refuses a request without a required one."""

    name: str
    description: TranslatableText
    required: bool = False
    type: str = "string"
    choices: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        found: dict[str, Any] = {"type": self.type}
        if self.choices:
            found["enum"] = list(self.choices)
        if self.pattern:
            found["pattern"] = self.pattern
        return found


PATH_PARAMETERS = {
    "name": Parameter(
        name="name", description=_("Name of the endpoint."), required=True, pattern="^[A-Za-z0-9_-]{1,63}$"
    ),
    "served_model_name": Parameter(
        name="served_model_name", description=_("Name of the served entity."), required=True
    ),
    "id": Parameter(
        name="id", description=_("The id in the answer that describes it, not its name."), required=True
    ),
}
PAGE_PARAMETERS = (
    Parameter(
        name="max_results",
        description=_("How many at most, up to 1,000. Without it and page_token everything comes at once."),
        type="integer",
    ),
    Parameter(name="page_size", description=_("The same under another name."), type="integer"),
    Parameter(name="page_token", description=_("The next_page_token of the page before.")),
)
ALWAYS_PAGED = (
    Parameter(
        name="max_results",
        description=_("How many at most: 100 if not given, up to 1,000."),
        type="integer",
    ),
    *PAGE_PARAMETERS[1:],
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    description=_(
        "Optional; a UUID is a good one. A call that is repeated with the same key within a day is not carried out again: it gets "
        "the first answer, with the header Idempotent-Replayed. Another body under the same key is refused."
    ),
    pattern=r"^[\x21-\x7e]{1,255}$",
)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path, made by the decorators of `Router`.

    `example` is a body that works; `sdk` and `mlflow` name the client's method that makes the call (`serving_endpoints.create`).
    `refusals` are the statuses that it may answer beside those of every operation.
    """

    method: Method
    path: str
    group: str
    name: str
    """Unique; snake case, as the SDK would call it: `list_endpoints`."""
    summary: TranslatableText
    description: TranslatableText
    query: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    body_argument: str = ""
    """The view's argument that receives the validated body. Empty: the view reads `request.json` itself."""
    body_required: bool = True
    answer: Any = None
    """A TypedDict or a pydantic model. None: an empty object."""
    media: str = "application/json"
    refusals: tuple[int, ...] = ()
    example: Mapping[str, Any] | None = None
    sdk: str = ""
    mlflow: str = ""
    is_addition: bool = False
    """The API of Databricks has no such operation."""
    is_refused: bool = False
    """Clients have a method for it, and this server always refuses it with a sentence."""
    for_admins: bool = False
    is_public: bool = False
    """Needs no access token."""
    session: bool = False
    """A person who is signed in to the pages may read it without a token, because a page shows it or links to it."""
    view: Callable[..., Any] | None = None
    """None: the gateway answers it."""

    @property
    def path_names(self) -> list[str]:
        """The names of the parameters in the path, in order."""
        return _PATH_PARAMETER.findall(self.path)

    @property
    def path_parameters(self) -> list[Parameter]:
        return [PATH_PARAMETERS[name] for name in self.path_names]

    @property
    def django_path(self) -> str:
        """The path below /api/2.0/, as Django writes its parameters."""
        return _PATH_PARAMETER.sub(r"<str:\1>", self.path.removeprefix(API))

    @property
    def is_idempotent_by_key(self) -> bool:
        """Whether the header Idempotency-Key is honoured."""
        return self.method == "POST" and self.path.startswith(API) and not self.is_refused

    @property
    def is_inference(self) -> bool:
        """Whether the gateway sends the request on to a provider."""
        return self.method == "POST" and not self.path.startswith("/api/")

    @property
    def headers(self) -> list[Parameter]:
        """Request headers beside the access token."""
        return [IDEMPOTENCY_KEY] if self.is_idempotent_by_key else []

    @property
    def statuses(self) -> list[int]:
        """Every status that it may answer, 200 first."""
        success = [] if self.is_refused else [200]
        always = set() if self.is_public else {400, 401}
        repeated = {409} if self.method == "POST" and self.path.startswith(API) else set()
        return success + sorted(always | repeated | set(self.refusals))
