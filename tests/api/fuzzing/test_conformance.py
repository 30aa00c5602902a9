"""Schemathesis: every response to a generated request conforms to the OpenAPI document."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving_ui.api.openapi.document import document
from tests.api.fuzzing.conftest import CONFIG, Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
BOUNDED = settings(max_examples=8, deadline=None, database=None, suppress_health_check=list(HealthCheck))
FEW = settings(BOUNDED, max_examples=2)


def strict() -> dict[str, Any]:
    """The document with `additionalProperties: false`, so that undocumented fields of responses are errors."""
    described = deepcopy(document(base="http://127.0.0.1"))
    for name, schema in described["components"]["schemas"].items():
        if schema.pop("additionalProperties", None) is True and name not in FREE:
            schema["additionalProperties"] = False
            schema["properties"] = {"warnings": WARNINGS, **schema.get("properties", {})}
    return described


FREE = {"Document", "Completion", "DatabricksConfig"}
CREATES_A_NAME = {"POST /api/2.0/serving-endpoints", "POST /api/2.0/secrets/scopes/create"}
UPDATE = "PUT /api/2.0/serving-endpoints/{name}/config"
WARNINGS = {"type": "array", "items": {"type": "string"}}
described = strict()
schema = schemathesis.openapi.from_dict(described)
schema.config.phases.coverage.unexpected_methods = set()
schema_without_coverage = schemathesis.openapi.from_dict(described)
schema_without_coverage.config.phases.coverage.enabled = False  # only the admin sends the systematic cases


@pytest.fixture
def server_with_objects(server: Server) -> Server:
    server.ensure_objects()
    return server


@schema.parametrize()
@BOUNDED
def test_responses_to_an_admin_conform_to_the_document(case: Case, server_with_objects: Server) -> None:
    validated_status(case, server_with_objects, "admin")


@schema_without_coverage.parametrize()
@BOUNDED
def test_responses_to_a_member_conform_to_the_document(case: Case, server_with_objects: Server) -> None:
    validated_status(case, server_with_objects, "member")


@schema_without_coverage.parametrize()
@FEW
def test_requests_without_a_token_get_401(case: Case, server: Server) -> None:
    status = validated_status(case, server, "nobody")
    assert status == (200 if case.operation.path == "/.well-known/databricks-config" else 401)


def validated_status(case: Case, server: Server, caller: str) -> int:
    """Send the request and validate the response against the document; returns the status."""
    use_existing_names(case, server)
    case.headers.pop("Authorization", None)
    response = case.call(base_url=server.url, headers=server.headers(caller), allow_redirects=False)
    case.validate_response(response, checks=CHECKS)
    assert response.status_code < 500, case.operation.label
    return int(response.status_code)


def use_existing_names(case: Case, server: Server) -> None:
    """Replace about half of the generated names by names of existing objects, which random values would never match."""
    known = {
        "name": "known",
        "served_model_name": "known-entity",
        "model_name": "known",
        "model_version": "1",
        "host": "known",
        "id": known_id(case.operation.path, server),
        "scope": "known-scope",
        "key": "known-key",
        "principal": "known@example.com",
        "token_id": server.known.get("token", ""),
        "application_id": server.known.get("application", ""),
    }
    for values in (case.path_parameters, case.query, case.body):
        if isinstance(values, dict) and case.operation.label not in CREATES_A_NAME:
            values |= {
                name: known[name] for name, value in values.items() if known.get(name) and is_chosen(value)
            }
    if case.operation.label == UPDATE and isinstance(case.body, dict) and is_chosen(case.body):
        case.body["served_entities"] = CONFIG["served_entities"]
        case.body.pop("traffic_config", None)


def is_chosen(value: object) -> bool:
    return len(str(value)) % 2 == 1


def known_id(path: str, server: Server) -> str:
    kinds = {"/permissions/": "endpoint", "/token": "token", "/Users/": "Users", "/Groups/": "Groups"}
    kinds["/ServicePrincipals/"] = "ServicePrincipals"
    return next((server.known.get(kind, "") for part, kind in kinds.items() if part in path), "")
