"""The signature of a model of MLflow: which columns or tensors it reads and writes.

It has the lists `inputs`, `outputs` and `params` as MLflow's file MLmodel has them: of columns `{"name", "type", "required"}`, or of
tensors `{"name", "type": "tensor", "tensor-spec": {"dtype", "shape"}}`. A list may be missing. A part of an unknown type is anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

Part = Mapping[str, Any]
Signature = Mapping[str, Sequence[Part]]
Schema = dict[str, Any]
LISTS = ("inputs", "outputs", "params")
MAX_PARTS = 2000
"""A longer list is left out: the table would be too long for a document."""
MAX_DIMENSIONS = 8
MAX_DEPTH = 10
_MAX_EXAMPLE = 100
"""Numbers in the example of a tensor; a larger tensor is shown with one number in each dimension."""
_VALUES: Mapping[str, tuple[Schema, Any]] = {  # schema and example by MLflow's name of the type
    "boolean": ({"type": "boolean"}, True),
    "integer": ({"type": "integer", "format": "int32"}, 1),
    "long": ({"type": "integer", "format": "int64"}, 1),
    "float": ({"type": "number", "format": "float"}, 1.0),
    "double": ({"type": "number", "format": "double"}, 1.0),
    "string": ({"type": "string"}, "text"),
    "binary": ({"type": "string", "format": "byte"}, "AQI="),
    "datetime": ({"type": "string", "format": "date-time"}, "2026-01-31T12:00:00"),
    "sparkml_vector": ({"type": "array", "items": {"type": "number"}}, [1.0, 1.0]),
}
_ANYTHING: tuple[Schema, Any] = ({}, "text")
_TENSORS = (("bool", "boolean"), ("int", "long"), ("uint", "long"), ("float", "double"), ("str", "string"))


def parts(value: object) -> list[Part]:
    """The columns or tensors of a list; none if it is no such list."""
    if not isinstance(value, list) or len(value) > MAX_PARTS:
        return []
    if not all(isinstance(each, dict) and isinstance(each.get("name", ""), str) for each in value):
        return []
    names = [each["name"] for each in value if "name" in each]
    return value if len(names) == len(set(names)) else []


def are_named(found: Sequence[Part]) -> bool:
    """Whether each part has a name, so that an input is a table or an object."""
    return bool(found) and all("name" in each for each in found)


def is_table(found: Sequence[Part]) -> bool:
    """Whether these are columns with names, as a data frame has them."""
    return are_named(found) and not any(each.get("type") == "tensor" for each in found)


def is_required(part: Part) -> bool:
    return part.get("required", True) is not False and part.get("optional") is not True


def described(part: object, depth: int = 0) -> tuple[Schema, Any]:
    """The JSON schema of a value of a column, or of a whole tensor, and an example of it."""
    kind = part.get("type") if isinstance(part, Mapping) else part
    if not isinstance(part, Mapping) or depth > MAX_DEPTH or not isinstance(kind, str):
        part = {}
    if kind == "tensor":
        return _tensor(part.get("tensor-spec"))
    if kind == "array":
        schema, example = described(part.get("items"), depth + 1)
        return {"type": "array", "items": schema}, [example]
    if kind == "map":
        schema, example = described(part.get("values"), depth + 1)
        return {"type": "object", "additionalProperties": schema}, {"key": example}
    if kind == "object" and isinstance(part.get("properties"), Mapping):
        found = {name: described(each, depth + 1) for name, each in part["properties"].items()}
        schema = {"type": "object", "properties": {name: each for name, (each, _example) in found.items()}}
        return schema, {name: example for name, (_schema, example) in found.items()}
    return _VALUES.get(kind, _ANYTHING) if isinstance(kind, str) else _ANYTHING


def _tensor(spec: object) -> tuple[Schema, Any]:
    spec = spec if isinstance(spec, Mapping) else {}
    shape, dtype = spec.get("shape"), str(spec.get("dtype", ""))
    kind = next((name for start, name in _TENSORS if dtype.startswith(start)), "")
    schema, example = _VALUES.get(kind, _ANYTHING)
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        return {"type": "array"}, [example]
    sizes = [size if type(size) is int and size >= 0 else None for size in shape]  # None: any, written as -1
    is_small = prod(size or 1 for size in sizes) <= _MAX_EXAMPLE
    for size in reversed(sizes):
        bounds = {} if size is None else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **bounds}
        example = [example] * (size if is_small and size is not None else 1)
    return schema, example


def example_body(signature: Signature, *, table: str = "dataframe_split") -> dict[str, Any]:
    """A query with one row: in the form `table` (or `dataframe_records`) if the model reads a table, else in `inputs`."""
    inputs = signature.get("inputs") or []
    if not inputs:
        inputs = [{"name": "column_1", "type": "double"}, {"name": "column_2", "type": "double"}]
    values = [described(each)[1] for each in inputs]
    if is_table(inputs):
        names = [each["name"] for each in inputs]
        if table == "dataframe_records":
            return {table: [dict(zip(names, values, strict=True))]}
        return {"dataframe_split": {"columns": names, "data": [values]}}
    if are_named(inputs):
        return {"inputs": {each["name"]: value for each, value in zip(inputs, values, strict=True)}}
    return {"inputs": values[0] if inputs[0].get("type") == "tensor" else values}
