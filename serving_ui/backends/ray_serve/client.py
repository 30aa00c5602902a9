"""Deploys applications on a Ray cluster by the REST API of Ray Serve, and observes them.

`PUT /api/serve/applications/` replaces all applications of the cluster and has no version, so callers of `apply` hold a lock. The
status says that a proxy is healthy when it was killed, so proxies are judged by a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from serving_ui.backends.protocol import Observation, Progress
from serving_ui.backends.ray_serve import status
from serving_ui.backends.ray_serve.application import PREFIX, Application
from serving_ui.backends.ray_serve.environment import without_values
from serving_ui.backends.transport import Call
from serving_ui.catalogue.upstream import UpstreamRequest
from serving_ui.gateway.connection import TimedOut, UpstreamFault
from serving_ui.gateway.outgoing import InvalidUpstreamRequest
from serving_ui.lib import json_text
from serving_ui.lib.egress import EgressPolicy, EgressRefused

READ_SECONDS = 10.0
WRITE_SECONDS = 30.0  # the first PUT starts Serve itself
PROBE_SECONDS = 3.0
MAX_STATUS_BYTES = 16 * 1024 * 1024
MAX_LOG_BYTES = 1024 * 1024
LOG_LINES = 1000
_APPLICATIONS = "/api/serve/applications/"
_KEPT_OPTIONS = ("proxy_location", "http_options", "grpc_options", "target_capacity")


class RayUnavailable(Exception):
    """The cluster did not do what was asked, and may do so later. The text is a sentence for a person."""


class RayServe:
    """`address` is that of the Ray dashboard, `token` that of Ray's token authentication or empty. `proxies` are the addresses of
    Serve's proxies; without them they are read from the status."""

    def __init__(
        self, address: str, *, token: str = "", proxies: Sequence[str] = (), policy: EgressPolicy
    ) -> None:
        self._address = address.rstrip("/")
        self._token = token
        self._proxies = tuple(proxies)
        self._policy = policy

    def apply(self, applications: Iterable[Application]) -> None:
        """Make these, and no others, the applications of ours that the cluster runs. Raises RayUnavailable.

        The caller holds a lock. A PUT of somebody else in between is noticed, and repaired by the next call.
        """
        wanted = {each.name: each.config() for each in applications}
        details = self._status()
        configs = _configs(details)
        foreign = {name: config for name, config in configs.items() if not name.startswith(PREFIX)}
        if {name: config for name, config in configs.items() if name.startswith(PREFIX)} == wanted:
            return
        if unreadable := sorted(name for name, config in foreign.items() if config is None):
            raise RayUnavailable(
                f"Ray does not tell the configuration of the application {unreadable[0]} at this moment, which a change would delete."
            )
        body = {name: details[name] for name in _KEPT_OPTIONS if details.get(name) is not None}
        body["applications"] = [*foreign.values(), *wanted.values()]
        answer_status, content = self._send("PUT", _APPLICATIONS, body, seconds=WRITE_SECONDS)
        if answer_status != HTTPStatus.OK:
            reason = status.last_line(content.decode(errors="replace"))
            raise RayUnavailable(f"Ray refused the change with status {answer_status}: {reason}")
        self._verify(wanted, foreign)

    def observe(self, application: Application) -> Observation:
        """How far its deployment is. READY after a request through a proxy to a replica, unless it is scaled to zero."""
        try:
            return self.observe_all([application])[application.name]
        except RayUnavailable as problem:
            return Observation(Progress.RETRY, str(problem))

    def observe_all(self, applications: Iterable[Application]) -> dict[str, Observation]:
        """The same of several, by name, from one status. Raises RayUnavailable."""
        details = self._status()
        return {each.name: self._observed(each, details) for each in applications}

    def _observed(self, application: Application, details: Mapping[str, Any]) -> Observation:
        found = _applications(details).get(application.name)
        if found is None or found.get("deployed_app_config") != application.config():
            return Observation(Progress.DEPLOYING, status.ACCEPTED)
        observed = status.observation(found)
        if observed.progress == Progress.READY:
            return self._verified(application, observed, details)
        message = _without_secrets(observed.message, application)
        return Observation(observed.progress, message, is_scaled_to_zero=observed.is_scaled_to_zero)

    def proxies(self) -> tuple[str, ...]:
        """The addresses of the proxies that answer now. Raises RayUnavailable."""
        return tuple(each for each in self._known_proxies(self._status()) if self._is_alive(each))

    def logs(self, application: Application) -> str:
        """The end of the log and of the output of the replica that started last; of an application that was removed, the end of the log.
        Raises RayUnavailable."""
        found = _applications(self._status()).get(application.name, {})
        for replica in status.replicas(found):
            node, actor = str(replica.get("node_id") or ""), str(replica.get("actor_id") or "")
            file = str(replica.get("log_file_path") or "").lstrip("/")
            parts = [self._log(node_id=node, filename=file)] if node and file else []
            parts += [self._log(actor_id=actor, suffix=each) for each in ("out", "err")] if actor else []
            if text := "\n".join(part.rstrip("\n") for part in parts if part.strip()):
                return _without_secrets(text, application)
        return _without_secrets(self._log_of_removed(application), application)

    def build_logs(self, application: Application) -> str:
        """What Ray wrote when it imported the application and installed its packages. Raises RayUnavailable."""
        details = self._status()
        node = str(status.mapping(details.get("controller_info")).get("node_id") or "")
        if not node:
            return ""
        files = self._log_files(node, "serve/*controller_build*", application)
        text = "\n".join(self._log(node_id=node, filename=file) for file in files[-5:])
        return _without_secrets(text, application)

    def _log_of_removed(self, application: Application) -> str:
        """The log of one replica, which stays on its node: an application whose deployment failed is removed at once."""
        found = status.mapping(status.mapping(self._get("/nodes?view=summary")).get("data")).get("summary")
        for each in status.sequence(found):
            node = str(status.mapping(status.mapping(each).get("raylet")).get("nodeId") or "")
            if files := self._log_files(node, "serve/replica_*", application) if node else []:
                return self._log(node_id=node, filename=files[-1])
        return ""

    def _log_files(self, node: str, glob: str, application: Application) -> list[str]:
        """The names of the files on the node that are about the application. None on a node that has ended."""
        query = urlencode({"node_id": node, "glob": glob})
        answer_status, content = self._send("GET", f"/api/v0/logs?{query}", seconds=READ_SECONDS)
        if answer_status != HTTPStatus.OK:
            return []
        with suppress(json_text.JsonInvalid):
            listed = status.mapping(status.mapping(json_text.read(content)).get("data")).get("result")
            groups = [each for each in status.mapping(listed).values() if isinstance(each, list)]
            return sorted(
                str(file) for group in groups for file in group if f"_{application.name}_" in str(file)
            )
        return []

    def _verify(self, wanted: Mapping[str, Any], foreign: Mapping[str, Any]) -> None:
        """Raise RayUnavailable if a PUT of somebody else came in between."""
        found = _applications(self._status())
        present = {name for name, details in found.items() if details.get("status") != "DELETING"}
        if not present >= {*wanted, *foreign}:
            raise RayUnavailable(
                "Another program changed the applications of the Ray cluster at the same time."
            )

    def _verified(
        self, application: Application, observed: Observation, details: Mapping[str, Any]
    ) -> Observation:
        proxies = self._known_proxies(details)
        if any(self._serves(each, application, wake=not observed.is_scaled_to_zero) for each in proxies):
            return observed
        known = ", ".join(proxies) or "none is known"
        return Observation(
            Progress.DEPLOYING,
            f"The model is loaded, but no proxy of Ray Serve answers for it yet ({known}).",
        )

    def _known_proxies(self, details: Mapping[str, Any]) -> tuple[str, ...]:
        if self._proxies:
            return self._proxies
        groups = [each for each in status.sequence(details.get("target_groups")) if isinstance(each, Mapping)]
        targets = [
            target
            for group in groups
            if group.get("protocol") == "HTTP" and group.get("route_prefix") == "/"
            for target in status.sequence(group.get("targets"))
            if isinstance(target, Mapping)
        ]
        found = [(str(each.get("ip")), each.get("port")) for each in targets]
        hosts = [(f"[{ip}]" if ":" in ip else ip, port) for ip, port in found if isinstance(port, int)]
        return tuple(dict.fromkeys(f"http://{host}:{port}" for host, port in hosts))

    def _serves(self, proxy: str, application: Application, *, wake: bool) -> bool:
        """Whether a replica answers through the proxy. Without `wake`, and if all replicas are busy with as many requests as they
        take, it is enough that the proxy has the route."""
        if wake:
            with suppress(TimedOut):
                return self._answers(proxy, application.probe_path)
        try:
            _status, routes = self._request("GET", f"{proxy}/-/routes", seconds=PROBE_SECONDS)
            return application.route_prefix in status.mapping(json_text.read(routes))
        except (UpstreamFault, EgressRefused, InvalidUpstreamRequest, json_text.JsonInvalid):
            return False

    def _is_alive(self, proxy: str) -> bool:
        with suppress(TimedOut):
            return self._answers(proxy, "/-/healthz")
        return False

    def _answers(self, proxy: str, path: str) -> bool:
        """Raises TimedOut."""
        try:
            answer_status, _content = self._request("GET", proxy + path, seconds=PROBE_SECONDS)
        except TimedOut:
            raise
        except (UpstreamFault, EgressRefused, InvalidUpstreamRequest):
            return False
        return answer_status == HTTPStatus.OK

    def _status(self) -> Mapping[str, Any]:
        return status.mapping(self._get(_APPLICATIONS))

    def _get(self, path: str) -> Any:
        answer_status, content = self._send("GET", path, seconds=READ_SECONDS)
        if answer_status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RayUnavailable("The Ray cluster refuses the token. Correct SERVING_UI_RAY_TOKEN.")
        if answer_status != HTTPStatus.OK:
            raise RayUnavailable(f"The Ray cluster answered {answer_status}.")
        try:
            return json_text.read(content)
        except json_text.JsonInvalid:
            raise RayUnavailable(
                f"{self._address} does not answer like a Ray cluster. Correct its address."
            ) from None

    def _log(self, **query: str) -> str:
        """Empty if there is no such log."""
        path = f"/api/v0/logs/file?{urlencode({**query, 'lines': LOG_LINES})}"
        answer_status, content = self._send("GET", path, seconds=READ_SECONDS, max_bytes=MAX_LOG_BYTES)
        return status.plain_text(content.decode(errors="replace")) if answer_status == HTTPStatus.OK else ""

    def _send(
        self, method: str, path: str, body: Any = None, *, seconds: float, max_bytes: int = MAX_STATUS_BYTES
    ) -> tuple[int, bytes]:
        try:
            return self._request(method, self._address + path, body, seconds=seconds, max_bytes=max_bytes)
        except EgressRefused as problem:
            raise RayUnavailable(f"The Ray cluster cannot be called: {problem}") from None
        except (UpstreamFault, InvalidUpstreamRequest) as problem:
            raise RayUnavailable(
                f"The Ray cluster at {self._address} cannot be reached: {problem}."
            ) from None

    def _request(
        self, method: str, url: str, body: Any = None, *, seconds: float, max_bytes: int = MAX_STATUS_BYTES
    ) -> tuple[int, bytes]:
        headers = [("accept", "application/json")]
        if self._token and url.startswith(self._address):
            headers.append(("authorization", f"Bearer {self._token}"))
        content = None
        if body is not None:
            headers.append(("content-type", "application/json"))
            content = json_text.write(body)
        with Call(policy=self._policy, seconds=seconds) as call:
            with call.send(UpstreamRequest(method, url, tuple(headers), content)) as response:
                return response.status, response.read_start(max_bytes=max_bytes)


def _applications(details: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = status.mapping(details.get("applications"))
    return {name: each for name, each in found.items() if isinstance(each, Mapping)}


def _configs(details: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of the applications that run, None where Ray does not tell one; those that are being removed are left out."""
    return {
        name: each.get("deployed_app_config")
        for name, each in _applications(details).items()
        if each.get("status") != "DELETING"
    }


def _without_secrets(text: str, application: Application) -> str:
    return without_values(text, application.environment.values())
