"""Reads an MLflow model registry by its REST API. Bounded in time and bytes: a registry that misbehaves delays nobody for long."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from serving_ui.backends.transport import Call
from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.connection import UpstreamFault
from serving_ui.gateway.outgoing import InvalidUpstreamRequest
from serving_ui.lib import json_text
from serving_ui.lib.egress import EgressPolicy, EgressRefused

SECONDS = 5.0
MAX_BYTES = 4 * 1024 * 1024
_API = "/api/2.0/mlflow"


class RegistryUnavailable(Exception):
    """The registry does not answer, or not as documented. The text is a sentence for a person."""


class MLflowRegistry:
    """`uri` is the tracking URI, `token` a bearer token or empty."""

    def __init__(self, uri: str, *, token: str = "", policy: EgressPolicy) -> None:
        self._uri, self._token, self._policy = uri, token, policy

    @staticmethod
    def host_of(uri: str) -> str:
        """Host and port, as the egress policy lists them."""
        return urlsplit(uri).netloc

    def has_version(self, name: str, version: str) -> bool:
        """Whether there is such a version, and it is ready. Raises RegistryUnavailable."""
        query = urlencode({"name": name, "version": version}, quote_via=quote)
        status, answer = self._get(f"/model-versions/get?{query}")
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
            return False
        found = answer.get("model_version")
        return isinstance(found, Mapping) and found.get("status", "READY") == "READY"

    def _get(self, path: str) -> tuple[int, Mapping[str, Any]]:
        headers = [("accept", "application/json")]
        if self._token:
            headers.append(("authorization", f"Bearer {self._token}"))
        request = UpstreamRequest("GET", f"{self._uri}{_API}{path}", tuple(headers))
        try:
            with Call(policy=self._policy, seconds=SECONDS) as call, call.send(request) as response:
                status, content = response.status, response.read_start(max_bytes=MAX_BYTES)
        except (UpstreamFault, EgressRefused, InvalidUpstreamRequest) as problem:
            raise RegistryUnavailable(
                f"The MLflow registry cannot be reached: {problem}. Try again, or ask an admin to check it."
            ) from None
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RegistryUnavailable("The MLflow registry refuses the token. An admin must correct it.")
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
