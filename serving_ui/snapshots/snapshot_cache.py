"""A file with the newest snapshot in the data folder, so that a gateway process can start while the database is unreachable.

Every line is encrypted with the vault's keys, and the file is readable by its owner only. It is written in small parts with a
pause after each, because the writing thread shares the interpreter with the queries of its process. Processes that share a data
folder lock the file, and one of them writes. A file of another version of this program or with unknown keys is ignored.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from cryptography.fernet import InvalidToken
from django.conf import settings
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from serving_ui.catalogue.provider_config import TRUSTED, ProviderConfig
from serving_ui.catalogue.registry import CALLED
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import outbound
from serving_ui.gateway.snapshot import Endpoint, Entity, Principal, Snapshot, TokenEntry
from serving_ui.vault import ciphers

log = logging.getLogger(__name__)
ITEMS_PER_PART = 25  # about a millisecond of work
PAUSE_SECONDS = 0.001
# The names of two fields in files that other versions of this program read and write.
_TIMEOUTS_KEY, _PER_MINUTE_KEY = "patience", "most"
_ENDPOINT, _PRINCIPAL = TypeAdapter(Endpoint), TypeAdapter(Principal)
ItemKind = Literal["endpoints", "principals", "tokens"]
Part = tuple[ItemKind, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class CachedSnapshot:
    """The content of the file. `saved_at` is a Unix time."""

    snapshot: Snapshot
    saved_at: float

    @property
    def age(self) -> float:
        """Seconds."""
        return max(0.0, time.time() - self.saved_at)


def save(snapshot: Snapshot, *, path: Path, pause: Callable[[float], object]) -> bool:
    """Writes the file unless it holds this revision already. False if another process is writing it.

    `pause` is called between two parts with PAUSE_SECONDS.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _open_private(path.with_suffix(".lock")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _saved_revision(path) != snapshot.revision:
            _write(snapshot, path, pause)
    return True


def load(*, path: Path) -> CachedSnapshot | None:
    """The content of the file; None if it does not exist or cannot be used."""
    try:
        with path.open("rb") as file:
            return _read(file)
    except FileNotFoundError:
        return None
    except (OSError, InvalidToken, ValidationError, ValueError, KeyError, TypeError) as problem:
        log.warning("The snapshot cache %s cannot be used: %r", path, problem)
        return None


def _write(snapshot: Snapshot, path: Path, pause: Callable[[float], object]) -> None:
    draft = path.with_suffix(f".{uuid4().hex[:8]}")
    ring, mark = ciphers.ring().all, uuid4().hex
    parts = list(_parts(snapshot))
    header = {"mark": mark, "revision": snapshot.revision, "saved_at": time.time(), "parts": len(parts)}
    try:
        with _open_private(draft) as file:
            file.write(ring.encrypt(to_json(header)) + b"\n")
            for number, (kind, items) in enumerate(parts):
                dumped = [_DUMP[kind](each) for each in items]
                file.write(ring.encrypt(to_json([mark, number, kind, dumped])) + b"\n")
                pause(PAUSE_SECONDS)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _read(file: Any) -> CachedSnapshot:
    ring = ciphers.ring().all
    header = from_json(ring.decrypt(file.readline().strip()))
    found: dict[str, list[Any]] = {"endpoints": [], "principals": [], "tokens": []}
    for expected in range(header["parts"]):
        mark, number, kind, items = from_json(ring.decrypt(file.readline().strip()))
        if (mark, number) != (header["mark"], expected):
            raise ValueError("its parts do not belong together")
        found[kind] += items
    principals = {each.id: each for each in map(_PRINCIPAL.validate_python, found["principals"])}
    endpoints = [_load_endpoint(each) for each in found["endpoints"]]
    snapshot = Snapshot(
        revision=header["revision"],
        endpoints={each.name: each for each in endpoints},
        principals=principals,
        tokens={
            bytes.fromhex(digest): TokenEntry(principals[holder], expires_at)
            for digest, holder, expires_at in found["tokens"]
        },
        session_token_key=settings.SESSION_TOKEN_KEY,
        egress=outbound.policy(),
        addresses=outbound.addresses(),
    )
    return CachedSnapshot(snapshot, header["saved_at"])


def _saved_revision(path: Path) -> int | None:
    """The revision of the file; None if it does not exist or cannot be read."""
    try:
        with path.open("rb") as file:
            return int(from_json(ciphers.ring().all.decrypt(file.readline().strip()))["revision"])
    except (OSError, InvalidToken, ValueError, KeyError, TypeError):
        return None


def _parts(snapshot: Snapshot) -> Iterator[Part]:
    yield from _split("principals", list(snapshot.principals.values()))
    yield from _split("tokens", list(snapshot.tokens.items()))
    yield from _split("endpoints", list(snapshot.endpoints.values()))


def _split(kind: ItemKind, items: Sequence[Any]) -> Iterator[Part]:
    for start in range(0, len(items), ITEMS_PER_PART):
        yield kind, items[start : start + ITEMS_PER_PART]


def _dump_endpoint(endpoint: Endpoint) -> list[Any]:
    without_entities = _ENDPOINT.dump_python(replace(endpoint, entities=()), mode="json")
    without_entities[_TIMEOUTS_KEY] = without_entities.pop("timeouts")
    for limit in without_entities["limits"]:
        limit[_PER_MINUTE_KEY] = limit.pop("per_minute")
    return [without_entities, [_dump_entity(each) for each in endpoint.entities]]


def _dump_entity(entity: Entity) -> list[Any]:
    """A list, which the release before this one reads too unless it has others."""
    task = entity.task and entity.task.value
    dumped = [entity.name, entity.provider, entity.model, task, _dump_config(entity.config)]
    return [*dumped, [*map(_dump_config, entity.others)]] if entity.others else dumped


def _dump_config(config: ProviderConfig) -> dict[str, Any]:
    return config.dump(lambda name, secret: {f"{name}_plaintext": secret.reveal()})


def _load_endpoint(dumped: list[Any]) -> Endpoint:
    without_entities, entities = dumped
    without_entities["timeouts"] = without_entities.pop(_TIMEOUTS_KEY, None)
    for limit in without_entities["limits"]:
        limit["per_minute"] = limit.pop(_PER_MINUTE_KEY)
    endpoint = _ENDPOINT.validate_python(without_entities)
    return replace(endpoint, entities=tuple(_load_entity(*each) for each in entities))


def _load_entity(name: str, provider: str, model: str, task: str | None, *configs: Any) -> Entity:
    """`configs`: the first, and in a list the others if there are any."""
    dumped = [configs[0], *(configs[1] if len(configs) > 1 else ())]
    first, *rest = (CALLED[provider].config.model_validate(each, context=TRUSTED) for each in dumped)
    return Entity(name, provider, model, Task(task) if task else None, first, tuple(rest))


_DUMP: dict[ItemKind, Callable[[Any], Any]] = {
    "endpoints": _dump_endpoint,
    "principals": lambda principal: _PRINCIPAL.dump_python(principal, mode="json"),
    "tokens": lambda item: [item[0].hex(), item[1].principal.id, item[1].expires_at],
}


def _open_private(path: Path) -> Any:
    """Opens a file for writing that only its owner may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb")
