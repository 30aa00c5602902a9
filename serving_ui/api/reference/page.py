"""Contents of the pages at /docs/api: operations by group, fields and code samples of an operation, and the providers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from serving_ui.api.openapi import external_model
from serving_ui.api.openapi.document import STATUS_DESCRIPTIONS, groups, operations
from serving_ui.api.operation import Operation, Parameter
from serving_ui.api.reference.code_samples import EXAMPLE, CodeSample, SampleEndpoint, code_samples_for
from serving_ui.api.reference.fields import Row, rows
from serving_ui.catalogue.registry import offered
from serving_ui.catalogue.secret import Secret
from serving_ui.endpoints import own_models
from serving_ui.endpoints.models import Endpoint

TOP_OPERATIONS = ("create_endpoint", "query")
TOP_OPERATIONS_OF_ENDPOINT = ("query", "update_config")
TOP_OPERATIONS_OF_BUILT_IN = ("query",)  # it cannot be changed
PLACEHOLDER = "{{secrets/my_scope/my_key}}"


@dataclass(frozen=True)
class DocumentedStatus:
    """A status other than 200 that an operation may answer with, and what it means."""

    status: int
    text: str


@dataclass(frozen=True)
class Entry:
    """One operation on the page."""

    operation: Operation
    parameters: list[Parameter]
    headers: list[Parameter]
    body: list[Row]
    answer: list[Row]
    errors: list[DocumentedStatus]
    code_samples: list[CodeSample]
    placeholder: str
    """The secret reference in the code samples, whose secret the reader has to create first; empty if there is none."""


@dataclass(frozen=True)
class Group:
    """Operations that belong together."""

    label: str
    operations: list[Operation]

    @property
    def key(self) -> str:
        return self.label.lower().replace(" ", "-")


@dataclass(frozen=True)
class Block:
    """The fields of one provider's config."""

    key: str
    label: str
    tasks: str
    fields: list[Row]


@cache
def grouped() -> list[Group]:
    """Every operation, by group."""
    return [Group(label, [each for each in operations() if each.group == label]) for label in groups()]


def entry(name: str, sample: SampleEndpoint) -> Entry | None:
    """The operation of this name, with code samples for this endpoint."""
    operation = next((each for each in operations() if each.name == name), None)
    return _entry(operation, sample) if operation else None


def top_entries(endpoint: Endpoint | None) -> list[Entry]:
    """The operations at the top of the page."""
    sample = sample_of(endpoint) if endpoint else EXAMPLE
    found = {each.name: each for each in operations()}
    return [_entry(found[name], sample) for name in _top_operations(endpoint)]


def _top_operations(endpoint: Endpoint | None) -> tuple[str, ...]:
    if endpoint is None:
        return TOP_OPERATIONS
    return TOP_OPERATIONS_OF_BUILT_IN if endpoint.is_ready_made else TOP_OPERATIONS_OF_ENDPOINT


@cache
def blocks() -> list[Block]:
    """The config blocks of the providers that can be chosen."""
    return [
        Block(
            key=provider.config_key,
            label=f"{provider.label}: {provider.name}",
            tasks=", ".join(provider.tasks),
            fields=rows(external_model.block(provider.config)),
        )
        for provider in offered()
    ]


def sample_of(endpoint: Endpoint) -> SampleEndpoint:
    """The endpoint as the code samples show it, with placeholders for secrets that were pasted."""
    version = endpoint.shown_version
    if version is None:
        return SampleEndpoint(**{**vars(EXAMPLE), "name": endpoint.name, "id": endpoint.pk})
    pasted = {path: secret for path, secret in version.config.secrets().items() if secret.kind == "stored"}
    named = version.config.with_secrets({path: Secret.from_reference(PLACEHOLDER) for path in pasted})
    return SampleEndpoint(
        name=endpoint.name,
        id=endpoint.pk,
        task=version.config.task or "",
        source=own_models.source_of(version),
        config=dict(_without_sole_traffic(named.public())),
        tags=endpoint.tags,
        rate_limits=endpoint.rate_limits,
        pasted=bool(pasted),
    )


def _without_sole_traffic(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A single served entity gets all traffic by default, so its traffic_config is left out."""
    alone = len(config["served_entities"]) == 1
    yield from ((name, value) for name, value in config.items() if not (alone and name == "traffic_config"))


def _entry(operation: Operation, sample: SampleEndpoint) -> Entry:
    samples = code_samples_for(operation, sample)
    return Entry(
        operation=operation,
        parameters=[*operation.path_parameters, *operation.query],
        headers=operation.headers,
        body=_fields(operation)[0],
        answer=_fields(operation)[1],
        errors=[
            DocumentedStatus(status, STATUS_DESCRIPTIONS[status])
            for status in operation.statuses
            if status != 200
        ],
        code_samples=samples,
        placeholder=PLACEHOLDER if sample.pasted and PLACEHOLDER in samples[0].code else "",
    )


@cache
def _tables() -> dict[str, tuple[list[Row], list[Row]]]:
    return {
        each.name: (
            rows({"$ref": f"/{each.body.__name__}"}) if each.body else [],
            rows({"$ref": f"/{each.answer.__name__}"}) if each.answer else [],
        )
        for each in operations()
    }


def _fields(operation: Operation) -> tuple[list[Row], list[Row]]:
    return _tables()[operation.name]
