"""The description of one operation of the API, from which the OpenAPI document, the page /docs/api and the code samples are made."""

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
    "model_name": Parameter(name="model_name", description=_("Name of the model."), required=True),
    "model_version": Parameter(name="model_version", description=_("Version of the model."), required=True),
    "host": Parameter(
        name="host",
        description=_("Name of the model host."),
        required=True,
        pattern="^[A-Za-z0-9_-]{1,40}$",
    ),
    "id": Parameter(name="id", description=_("The field id of the object, not its name."), required=True),
}
PAGE_PARAMETERS = (
    Parameter(
        name="max_results",
        description=_(
            "Maximum number of items, up to 1,000. Without it and without page_token the whole list is returned."
        ),
        type="integer",
    ),
    Parameter(name="page_size", description=_("Another name of max_results."), type="integer"),
    Parameter(name="page_token", description=_("The next_page_token of the previous page.")),
)
ALWAYS_PAGED = (
    Parameter(
        name="max_results",
        description=_("Maximum number of items, up to 1,000. Default: 100."),
        type="integer",
    ),
    *PAGE_PARAMETERS[1:],
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    description=_(
        "Optional, for example a UUID. If the request is repeated with the same key within a day, it is not executed again but gets "
        "the first answer, with the header Idempotent-Replayed. A different request with the same key is refused."
    ),
    pattern=r"^[\x21-\x7e]{1,255}$",
)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path, made by the decorators of `Router`.

    `example` is a body that works; `sdk` and `mlflow` name the client's method that makes the call (`serving_endpoints.create`).
    `refusals` are the error statuses that it may answer in addition to those of every operation.
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
    """Whether the API of Databricks lacks it."""
    for_admins: bool = False
    is_public: bool = False
    """Whether it needs no access token."""
    session: bool = False
    """Whether a browser session suffices in place of a token, because a page shows the answer or links to it."""
    view: Callable[..., Any] | None = None
    """None if the gateway answers it."""

    @property
    def path_names(self) -> list[str]:
        """The names of the parameters in the path, in order."""
        return _PATH_PARAMETER.findall(self.path)

    @property
    def path_parameters(self) -> list[Parameter]:
        return [PATH_PARAMETERS[name] for name in self.path_names]

    @property
    def marks(self) -> list[TranslatableText]:
        """What the page at /docs/api marks it with."""
        marks = (
            (self.is_addition, _("addition")),
            (self.for_admins, _("admins")),
        )
        return [mark for applies, mark in marks if applies]

    @property
    def django_path(self) -> str:
        """The path below /api/2.0/, as Django writes its parameters."""
        return _PATH_PARAMETER.sub(r"<str:\1>", self.path.removeprefix(API))

    @property
    def is_idempotent_by_key(self) -> bool:
        """Whether the header Idempotency-Key is honoured."""
        return self.method == "POST" and self.path.startswith(API)

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
        always = set() if self.is_public else {400, 401}
        repeated = {409} if self.method == "POST" and self.path.startswith(API) else set()
        return [200, *sorted(always | repeated | set(self.refusals))]
