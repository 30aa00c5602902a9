"""Inserts and upserts of many rows in one statement, on SQLite and PostgreSQL.

Django's bulk_create spends most of its time on preparing values, and cannot add to the sums of an existing row without reading it.
Measured on SQLite on two busy cores, requests with their sums, for one endpoint and for 200 endpoints with 50 callers each:
4,800 and 1,000 rows/s with bulk_create, 11,800 and 6,800 rows/s with these statements.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Model


def insert_rows(model: type[Model], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Inserts rows, whose values are in the order of the field `names`."""
    _execute(f"INSERT INTO {_table(model)} {_values(model, names)}", rows)


def upsert_sums(
    model: type[Model],
    *,
    key: Sequence[str],
    newest: Sequence[str],
    highest: Sequence[str],
    sums: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Inserts each row, or updates the row with the same key: `newest` fields are replaced, `highest` become the greater value and
    `sums` are added. The values of a row are in the order key, newest, highest, sums."""
    table = _table(model)
    changes = [f"{name} = EXCLUDED.{name}" for name in _columns(model, newest)]
    changes += [
        f"{name} = CASE WHEN EXCLUDED.{name} > {table}.{name} THEN EXCLUDED.{name} ELSE {table}.{name} END"
        for name in _columns(model, highest)
    ]
    changes += [f"{name} = {table}.{name} + EXCLUDED.{name}" for name in _columns(model, sums)]
    values = _values(model, (*key, *newest, *highest, *sums))
    conflict = ", ".join(_columns(model, key))
    _execute(
        f"INSERT INTO {table} {values} ON CONFLICT ({conflict}) DO UPDATE SET {', '.join(changes)}", rows
    )


def _execute(statement: str, rows: Iterable[Sequence[Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, [[_parameter(value) for value in row] for row in rows])


def _parameter(value: Any) -> Any:
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return json.dumps(value) if isinstance(value, dict) else value


def _table(model: type[Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _columns(model: type[Model], names: Sequence[str]) -> list[str]:
    return [connection.ops.quote_name(str(model._meta.get_field(name).column)) for name in names]  # type: ignore[union-attr]


def _values(model: type[Model], names: Sequence[str]) -> str:
    return f"({', '.join(_columns(model, names))}) VALUES ({', '.join(['%s'] * len(names))})"
