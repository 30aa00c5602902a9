"""Hostile values, and all places in the body, path and query of an operation where they can be put."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel

from serving_ui.api.operation import Operation

Body = dict[str, Any]
Path = tuple[str | int, ...]
DEEP: list[Any] = []
for _level in range(200):
    DEEP = [DEEP]
TEXTS = [
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\ufeff", "\uffff", "\x7f\x1b[2J", "ÅÅÅÅ", "秘密", "१२", "²",
    "%00", "../..", "' OR 1=1 --", "{{secrets/a/b}}", "{{secrets/\ud800/b}}", "-1", "1e999", "9" * 30, "9" * 5000,
    "x" * 300, "x" * 300_000, "http://[::1", "http://\ud800.example", "https://a:b@c:99999999/", "None", "a=b&c=d",
]  # fmt: skip
IN_BODY: list[Any] = [
    *TEXTS, 0, -1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 1.5, 1e308, float("nan"), float("inf"), True, None,
    [], [[]], {}, {"": ""}, {"\ud800": 1}, [None], ["a", "a"], [{}], [0] * 2000, DEEP,
]  # fmt: skip


def bodies_with_hostile_values(body: Body, model: type[BaseModel]) -> Iterator[tuple[str, Body]]:
    """(description, body) for each hostile value at each place of the body and in each field of the model."""
    known = [*_inside(body), *((name,) for name in model.model_json_schema().get("properties", {}))]
    for path in dict.fromkeys(known):
        for value in IN_BODY:
            yield f"{path} = {value!r:.60}", _with(body, path, value)
    yield from (("a key", {**body, text: 1}) for text in TEXTS)


def path_and_query_values(operation: Operation, known: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Values of path and query parameters: first the valid ones, then with one hostile text at a time."""
    right = {name: known[name] for name in operation.path_names}
    yield right
    for name in [*operation.path_names, *(each.name for each in operation.query)]:
        needed = {each.name: known[each.name] for each in operation.query if each.required}
        yield from ({**right, **needed, name: text} for text in TEXTS)


def _inside(value: Any, path: Path = ()) -> Iterator[Path]:
    parts = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, part in parts:
        yield (*path, name)
        yield from _inside(part, (*path, name))


def _with(body: Body, path: Path, value: Any) -> Body:
    changed: Any = deepcopy(body)
    holder = changed
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return dict(changed)
