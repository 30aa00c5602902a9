"""What the domain refuses, with the REST error code and status that say so.

EndpointError
├── EndpointNotFound  404   also when the person may not see it
├── EndpointExists    409   the name is taken
├── NotAllowed        403
├── UpdateInProgress  409   ├── UpdateNotRunning 409   ├── StaleEdit 409
└── Overtaken         409   another change came between read and write; commands try again
Bad input is catalogue.problems.SpecErrors, each problem with its path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class EndpointError(Exception):
    """A refusal; the text is a sentence for a person."""

    code = "BAD_REQUEST"
    status = 400


class EndpointNotFound(EndpointError):
    code, status = "RESOURCE_DOES_NOT_EXIST", 404


class EndpointExists(EndpointError):
    code, status = "RESOURCE_ALREADY_EXISTS", 409


class NotAllowed(EndpointError):
    code, status = "PERMISSION_DENIED", 403


class UpdateInProgress(EndpointError):
    code, status = "RESOURCE_CONFLICT", 409


class UpdateNotRunning(EndpointError):
    code, status = "RESOURCE_CONFLICT", 409


class Overtaken(EndpointError):
    code, status = "RESOURCE_CONFLICT", 409


class StaleEdit(EndpointError):
    """Someone else changed the endpoint after the form was opened; `changes` are their events, oldest first."""

    code, status = "RESOURCE_CONFLICT", 409

    def __init__(self, sentence: str, *, changes: Sequence[Any]) -> None:
        super().__init__(sentence)
        self.changes = list(changes)
