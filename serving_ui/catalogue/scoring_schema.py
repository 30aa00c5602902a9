"""The JSON schemas of queries and answers of a model without a task, as Databricks describes them for its custom models.

A query has exactly one of `dataframe_split`, `dataframe_records`, `inputs` and `instances`, and `params` if the model has some. Without a
signature the columns may be anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serving_ui.catalogue.model_signature import (
    Part,
    Schema,
    Signature,
    are_named,
    described,
    is_required,
    is_table,
)

_INDEX: Schema = {"type": "array", "items": {"type": ["integer", "string"]}}


def query_schema(signature: Signature) -> Schema:
    """The body of a query."""
    params = signature.get("params") or []
    more = {"params": _object(params)} if are_named(params) else {}
    forms = _forms(signature.get("inputs") or [])
    return {
        "oneOf": [
            {"type": "object", "title": form, "properties": {form: schema, **more}, "required": [form]}
            for form, schema in forms
        ]
    }


def answer_schema(signature: Signature) -> Schema:
    """The answer to a query."""
    outputs = signature.get("outputs") or []
    predictions: Schema = {}
    if is_table(outputs):
        predictions = {"type": "array", "items": _object(outputs)}
    elif len(outputs) == 1:
        schema = described(outputs[0])[0]
        is_tensor = outputs[0].get("type") == "tensor"
        predictions = schema if is_tensor else {"type": "array", "items": schema}
    return {"type": "object", "properties": {"predictions": predictions}, "required": ["predictions"]}


def _forms(inputs: Sequence[Part]) -> Iterator[tuple[str, Schema]]:
    """The forms that the model can read."""
    if not inputs or is_table(inputs):
        yield "dataframe_split", _split(inputs)
        yield "dataframe_records", {"type": "array", "items": _object(inputs)}
    if not inputs:
        yield "inputs", {}
        yield "instances", {"type": "array"}
    elif are_named(inputs):
        yield "inputs", _object(inputs, in_columns=True)
        yield "instances", {"type": "array", "items": _object(inputs, in_rows=True)}
    else:
        schema = described(inputs[0])[0]
        whole = schema if inputs[0].get("type") == "tensor" else {"type": "array", "items": schema}
        yield "inputs", whole
        yield "instances", whole


def _split(inputs: Sequence[Part]) -> Schema:
    """`data` has the values of a row in the order of `columns`."""
    columns: Schema = {"type": "array", "items": {"type": "string"}}
    row: Schema = {"type": "array"}
    if inputs:
        columns["items"] = {"type": "string", "enum": [each["name"] for each in inputs]}
        row = {"type": "array", "prefixItems": [_value(each) for each in inputs]}
    return {
        "type": "object",
        "properties": {"index": _INDEX, "columns": columns, "data": {"type": "array", "items": row}},
        "required": ["columns", "data"],
    }


def _object(parts: Sequence[Part], *, in_columns: bool = False, in_rows: bool = False) -> Schema:
    """An object with a value of each part: of a row, or with `in_columns` of all rows."""
    properties: dict[str, Any] = {}
    for part in parts:
        schema = _value(part)
        is_tensor = part.get("type") == "tensor"
        if in_columns and not is_tensor:
            schema = {"anyOf": [{"type": "array", "items": schema}, schema]}
        elif in_rows and is_tensor:
            schema = schema["items"] if isinstance(schema.get("items"), Mapping) else {}
        properties[part["name"]] = schema
    required = [part["name"] for part in parts if is_required(part) and "default" not in part]
    found: Schema = {"type": "object", "properties": properties}
    return {**found, "required": required} if required else found


def _value(part: Part) -> Schema:
    """Of a column that need not have a value, also null."""
    schema = described(part)[0]
    if "default" in part:
        schema = {**schema, "default": part["default"]}
    return schema if is_required(part) or not schema else {"anyOf": [schema, {"type": "null"}]}
