"""Reads an MLflow model registry by its REST API. Bounded in time and bytes: a registry that misbehaves delays nobody for long.

Flavours and signature of a model stand in its file MLmodel, which no call of the REST API gives. It is read from
`model-versions/get-artifact`, an address of MLflow's own server that its page uses, too. Where that is missing, they are unknown.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import yaml

from serving_ui.backends.transport import Call
from serving_ui.catalogue import model_signature
from serving_ui.catalogue.model_signature import Signature
from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.connection import UpstreamFault
from serving_ui.gateway.outgoing import InvalidUpstreamRequest
from serving_ui.lib import json_text
from serving_ui.lib.egress import EgressPolicy, EgressRefused

SECONDS = 5.0
MAX_BYTES = 4 * 1024 * 1024
MAX_MLMODEL_BYTES = 256 * 1024
"""A signature of 1,000 columns has about 70 kB."""
_API = "/api/2.0/mlflow"
_ARTIFACT = "/model-versions/get-artifact"


class RegistryUnavailable(Exception):
    """The registry does not answer, or not as documented. The text is a sentence for a person."""


@dataclass(frozen=True)
class MLflowVersion:
    """A version that is ready. `created_at` is in milliseconds; 0 if the registry does not say it."""

    description: str = ""
    created_at: int = 0
    flavors: tuple[str, ...] = ()
    signature: Signature = field(default_factory=dict)


def authorization(*, token: str = "", username: str = "", password: str = "") -> str:
    """The header for a bearer token or for user and password; empty without any."""
    if token:
        return f"Bearer {token}"
    pair = f"{username}:{password}".encode(errors="surrogateescape")
    return f"Basic {b64encode(pair).decode()}" if username else ""


class MLflowRegistry:
    """`uri` is the tracking URI."""

    def __init__(self, uri: str, *, authorization: str = "", policy: EgressPolicy) -> None:
        self._uri, self._authorization, self._policy = uri, authorization, policy

    @staticmethod
    def host_of(uri: str) -> str:
        """Host and port, as the egress policy lists them."""
        return urlsplit(uri).netloc

    def version(self, name: str, version: str) -> MLflowVersion | None:
        """None if there is no such version, or it is not ready. Raises RegistryUnavailable."""
        query = urlencode({"name": name, "version": version}, quote_via=quote)
        status, answer = self._get(f"/model-versions/get?{query}")
        found = answer.get("model_version")
        if (
            status != HTTPStatus.OK
            or not isinstance(found, Mapping)
            or found.get("status", "READY") != "READY"
        ):
            return None
        description, created_at = found.get("description"), str(found.get("creation_timestamp", ""))
        flavors, signature = self._read_mlmodel(query)
        return MLflowVersion(
            description=description if isinstance(description, str) else "",
            created_at=int(created_at) if created_at.isascii() and created_at.isdigit() else 0,
            flavors=flavors,
            signature=signature,
        )

    def _read_mlmodel(self, query: str) -> tuple[tuple[str, ...], Signature]:
        """Empty if it cannot be read: the model can be served without."""
        try:
            status, content = self._fetch(
                f"{_ARTIFACT}?{query}&path=MLmodel", max_bytes=MAX_MLMODEL_BYTES + 1
            )
        except RegistryUnavailable:
            return (), {}
        if status != HTTPStatus.OK or len(content) > MAX_MLMODEL_BYTES:
            return (), {}
        return parse_mlmodel(content)

    def model_names(self, *, limit: int) -> list[str]:
        """The first names, in the registry's order. Raises RegistryUnavailable."""
        _status, answer = self._get(f"/registered-models/search?{urlencode({'max_results': limit})}")
        return _texts(answer.get("registered_models"), "name")

    def versions(self, name: str, *, limit: int) -> list[str]:
        """The newest versions of a model that are ready, the newest first. Raises RegistryUnavailable."""
        quotation = '"' if "'" in name else "'"
        filters = {"filter": f"name={quotation}{name}{quotation}", "order_by": "version_number DESC"}
        query = urlencode({**filters, "max_results": limit}, quote_via=quote)
        _status, answer = self._get(f"/model-versions/search?{query}")
        return _texts(answer.get("model_versions"), "version")

    def _get(self, path: str) -> tuple[int, Mapping[str, Any]]:
        status, content = self._fetch(f"{_API}{path}", max_bytes=MAX_BYTES)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RegistryUnavailable(
                "The MLflow registry refuses the token, or the user and password. An admin must correct them."
            )
        if status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
            raise RegistryUnavailable(f"The MLflow registry answered {status}. Ask an admin to check it.")
        try:
            answer = json_text.read(content)
        except json_text.JsonInvalid:
            answer = None
        if not isinstance(answer, Mapping):
            raise RegistryUnavailable(
                "The MLflow registry did not answer with JSON. Ask an admin to check its address."
            )
        return status, answer

    def _fetch(self, path: str, *, max_bytes: int) -> tuple[int, bytes]:
        headers = [("accept", "*/*")]
        if self._authorization:
            headers.append(("authorization", self._authorization))
        request = UpstreamRequest("GET", f"{self._uri}{path}", tuple(headers))
        try:
            with Call(policy=self._policy, seconds=SECONDS) as call, call.send(request) as response:
                return response.status, response.read_start(max_bytes=max_bytes)
        except (UpstreamFault, EgressRefused, InvalidUpstreamRequest) as problem:
            raise RegistryUnavailable(
                f"The MLflow registry cannot be reached: {problem}. Try again, or ask an admin to check it."
            ) from None


def parse_mlmodel(content: bytes) -> tuple[tuple[str, ...], Signature]:
    """The names of the flavours, and the signature; empty if the text is no such file.

    Only the tree of the YAML is built, not its values: a small text with references can have values that fill the memory. The parser
    that is written in C is not used, because deep nesting ends the process.
    """
    try:
        found = _fields(yaml.compose(content.decode(), Loader=yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return (), {}
    texts = {name: node.value for name, node in _fields(found.get("signature")).items()}
    lists = {name: model_signature.parts(_json(texts.get(name))) for name in model_signature.LISTS}
    return tuple(_fields(found.get("flavors"))), {name: each for name, each in lists.items() if each}


def _fields(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _json(text: object) -> Any:
    try:
        return json_text.read(text.encode()) if isinstance(text, str) else None
    except json_text.JsonInvalid:
        return None


def _texts(rows: object, name: str) -> list[str]:
    """One field of each row, of those that have it and do not have another status than READY."""
    found = rows if isinstance(rows, list) else []
    return [
        str(row[name])
        for row in found
        if isinstance(row, Mapping) and name in row and row.get("status", "READY") == "READY"
    ]
