"""Routes of the API, each described where its view is declared.

    router = Router("Secrets")

    @router.post("secrets/put", summary=_("Put a secret"), refusals=(403, 404), sdk="secrets.put_secret", example={...})
    def put_secret(request: ApiRequest, secret: NewSecret) -> Empty: ...

The decorator makes an `Operation` of it and returns the view unchanged. The operation's name is the view's; its body is the
view's argument that is a pydantic model, which is validated before the view is called; its answer is the view's return type.
`urls.py` makes the URL patterns of all routers, `openapi/` the document, `reference/` the page at /docs/api.

Why not django-ninja: version 1.7.1 was tried in November 2026 with five routes and the models of `catalogue`. It works with this
Django and pydantic 2.14, writes OpenAPI 3.1, and its exception handlers can answer the contract's errors. But:
- another method, and HEAD, is answered 405 in HTML, a status that clients of this API repeat; it has no hook for that;
- an empty body is a missing one (400), where the contract reads it as an empty object;
- unknown fields are dropped before the view sees them, so warnings would need a second reading of the raw body;
- each spelling of a slash needs a second decorator, hidden from the document;
- a streamed list leaves its answer models, and operations that the gateway answers have no view to describe them at;
- validation errors arrive as dictionaries with paths such as `('body', 'spec', 'name')`, to be taken apart again;
- sign-in, transactions, idempotency and waiting for gateways would stay ours, and the document would need the same finishing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, Required, TypeVar, get_args, get_type_hints

from django.http import HttpResponseBase
from django.urls import URLPattern
from pydantic import BaseModel
from typing_extensions import TypedDict, Unpack, is_typeddict

from serving_ui.api.http import url_patterns
from serving_ui.api.operation import API, Method, Operation, Parameter
from serving_ui.catalogue.translatable import TranslatableText

View = TypeVar("View", bound=Callable[..., Mapping[str, Any] | HttpResponseBase])


class Description(TypedDict, total=False):
    """The arguments of a decorator: fields of `Operation`. `body` and `answer` are for views whose type hints do not have them."""

    summary: Required[TranslatableText]
    description: TranslatableText
    query: tuple[Parameter, ...]
    body: type[BaseModel]
    body_required: bool
    answer: Any
    media: str
    refusals: tuple[int, ...]
    example: Mapping[str, Any]
    sdk: str
    mlflow: str
    is_addition: bool
    for_admins: bool
    is_public: bool
    session: bool


class Router:
    """The operations of one group of the OpenAPI document, in order. Several routers may share a group."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.operations: list[Operation] = []

    def get(self, path: str, **description: Unpack[Description]) -> Callable[[View], View]:
        return self._route("GET", path, description)

    def post(self, path: str, **description: Unpack[Description]) -> Callable[[View], View]:
        return self._route("POST", path, description)

    def put(self, path: str, **description: Unpack[Description]) -> Callable[[View], View]:
        return self._route("PUT", path, description)

    def patch(self, path: str, **description: Unpack[Description]) -> Callable[[View], View]:
        return self._route("PATCH", path, description)

    def delete(self, path: str, **description: Unpack[Description]) -> Callable[[View], View]:
        return self._route("DELETE", path, description)

    def describe(self, method: Method, path: str, name: str, **description: Unpack[Description]) -> None:
        """Declare an operation that the gateway answers. `path` is the whole path."""
        self.operations.append(self._operation(method, path, name, description))

    def _route(self, method: Method, path: str, description: Description) -> Callable[[View], View]:
        def declare(view: View) -> View:
            found = {**_typed(view), **description}
            self.operations.append(self._operation(method, API + path, view.__name__, found, view=view))
            return view

        return declare

    def _operation(
        self, method: Method, path: str, name: str, description: Mapping[str, Any], **more: Any
    ) -> Operation:
        described = {"description": TranslatableText(""), **description}
        return Operation(method=method, path=path, group=self.group, name=name, **described, **more)


def _typed(view: Callable[..., Any]) -> dict[str, Any]:
    """`body` and `answer` from the type hints of the view."""
    hints = get_type_hints(view)
    returned = hints.pop("return")
    found: dict[str, Any] = {}
    for name, kind in hints.items():
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= {"body": kind, "body_argument": name}
    for kind in (returned, *get_args(returned)):
        if is_typeddict(kind):
            found["answer"] = kind
    return found


def patterns(routers: Iterable[Router]) -> list[URLPattern]:
    """The URL patterns of every operation with a view. Literal parts of a path come before parameters with a suffix, these before others."""
    operations = [each for router in routers for each in router.operations if each.view]
    found: list[URLPattern] = []
    for path, same in groupby(sorted(operations, key=_specificity), key=lambda each: each.django_path):
        found += url_patterns(path, {each.method: each for each in same})
    return found


def _specificity(operation: Operation) -> list[tuple[bool, bool, str]]:
    return [(part.startswith("<"), part.endswith(">"), part) for part in operation.django_path.split("/")]
