"""What Ray's status says of one application, as an Observation with a sentence for a person."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from serving_ui.backends.protocol import Observation, Progress

MAX_MESSAGE = 500
_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_EXCEPTION = re.compile(r"(?:[A-Za-z_][\w.]*\.)?([A-Za-z_]\w*): ?(.*)", re.DOTALL)
_RESOURCES = re.compile(
    r"Resources required for each replica: (\{.*?\}), total resources available: (\{.*?\})"
)
_PIP_ERROR = re.compile(r"^\s*ERROR: (.+)$", re.MULTILINE)
_PROCESS_DIED = re.compile(r"ActorDiedError|worker process has died|running low on memory")
_MISSING_MODULE = re.compile(r"No module named '([\w.]+)'")
_UNITS = {"CPU": "CPUs", "GPU": "GPUs"}
LOADING = "The model is loading."
PROCESS_DIED = (
    "The process of the model ended while it was loading. Probably the memory of its node was not enough. "
    "Use a smaller model, or nodes with more memory."
)
ACCEPTED = "Ray prepares the application."


def observation(details: Mapping[str, Any]) -> Observation:
    """Of an application whose details are these; READY means RUNNING, which its caller still verifies by a request."""
    status, message = str(details.get("status")), str(details.get("message") or "")
    deployments = [each for each in mapping(details.get("deployments")).values() if isinstance(each, Mapping)]
    if status == "DEPLOY_FAILED":
        return Observation(Progress.FAILED, _reason(message, deployments))
    if status == "RUNNING":
        return Observation(Progress.READY, is_scaled_to_zero=_is_scaled_to_zero(deployments))
    if status == "UNHEALTHY":
        return Observation(Progress.DEPLOYING, "A replica has failed, and Ray starts another.")
    if status == "DELETING":
        return Observation(Progress.DEPLOYING, "Ray still removes an earlier application of this name.")
    return Observation(Progress.DEPLOYING, _waiting_for(deployments))


def replicas(details: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The replicas that run or start, then those that have ended, the newest first."""
    deployments = [each for each in mapping(details.get("deployments")).values() if isinstance(each, Mapping)]
    for each in deployments:
        yield from (one for one in sequence(each.get("replicas")) if isinstance(one, Mapping))
    for each in deployments:
        yield from (
            one for one in reversed(sequence(each.get("recent_dead_replicas"))) if isinstance(one, Mapping)
        )


def plain_text(text: str) -> str:
    """Without terminal codes."""
    return _TERMINAL_CODE.sub("", text)


def last_line(text: str) -> str:
    """The last line of a message of Ray, which has terminal codes and a traceback: usually the exception."""
    lines = [line.strip() for line in plain_text(text).splitlines() if line.strip()]
    return lines[-1][:MAX_MESSAGE] if lines else ""


def _waiting_for(deployments: list[Mapping[str, Any]]) -> str:
    for each in deployments:
        message = str(each.get("message") or "")
        if lacking := _lacking_resources(message):
            return lacking
        if "Error:" in message:
            return f"The model did not load and is tried again: {_cause(message)}"
    return LOADING if deployments else ACCEPTED


def _lacking_resources(message: str) -> str:
    """`One replica asks for 64 CPUs, and the cluster has 3.8.`, if that is what the message says."""
    found = _RESOURCES.search(message)
    if not found:
        return ""
    try:
        needed, available = (json.loads(part.replace("'", '"')) for part in found.groups())
        short = [
            (_UNITS.get(name, name), amount, available.get(name, 0))
            for name, amount in needed.items()
            if amount > available.get(name, 0)
        ]
    except (ValueError, TypeError, AttributeError):
        return ""
    if not short:
        return "The cluster has not enough free compute for one more replica. Ray waits for it."
    parts = ", ".join(f"{amount:g} {unit}, and the cluster has {there:g}" for unit, amount, there in short)
    return f"One replica asks for {parts}. Choose a smaller compute type, or add nodes to the cluster."


def _reason(message: str, deployments: list[Mapping[str, Any]]) -> str:
    messages = [
        str(each.get("message") or "") for each in deployments if each.get("status") == "DEPLOY_FAILED"
    ]
    cause = next((each for each in messages if each), message)
    if errors := _PIP_ERROR.findall(plain_text(cause)):
        return f"A package could not be installed: {errors[-1].strip()[:MAX_MESSAGE]}"
    return _cause(cause) or "Ray gives no reason."


def _cause(message: str) -> str:
    """Why a model did not load: its exception, or what is known of it without one."""
    line = last_line(message)
    if missing := _MISSING_MODULE.search(line):
        return f"The package {missing[1]} is missing. Add it to the packages of the model, or to the environment of the cluster."
    if _PROCESS_DIED.search(message):
        return PROCESS_DIED
    return _exception(line)


def _exception(line: str) -> str:
    """`ValueError: no weights` as it is; the module of the exception's class is left out."""
    found = _EXCEPTION.fullmatch(line)
    return f"{found[1]}: {found[2]}" if found else line


def _is_scaled_to_zero(deployments: list[Mapping[str, Any]]) -> bool:
    return bool(deployments) and not any(
        isinstance(one, Mapping) and one.get("state") == "RUNNING"
        for each in deployments
        for one in sequence(each.get("replicas"))
    )


def mapping(value: Any) -> Mapping[str, Any]:
    """The value, or an empty mapping if it is something else."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> list[Any]:
    """The value, or an empty list if it is something else."""
    return value if isinstance(value, list) else []
