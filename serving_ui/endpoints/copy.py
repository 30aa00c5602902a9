"""A copy of the newest snapshot in the data folder, so that a gateway can start while the database is away.

Everything in it is encrypted with the vault's keys, and only its owner may read the file. It is written in parts with a pause
after each, because the thread that writes shares the processor with the answers of its process; of several processes with one
folder the first one writes. A copy that another version of this program wrote, or another key, is as good as none.
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

from serving_ui.catalogue.provider_config import TRUSTED
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import outbound
from serving_ui.gateway.snapshot import Endpoint, Entity, Principal, Snapshot, TokenEntry
from serving_ui.vault import ciphers

log = logging.getLogger(__name__)
AT_ONCE = 25  # things in a part: about a millisecond
PAUSE_SECONDS = 0.001
_ENDPOINT, _PRINCIPAL = TypeAdapter(Endpoint), TypeAdapter(Principal)
_TIMEOUTS_KEY = "patience"  # the field's name in files that other versions of this program read and write
Kind = Literal["endpoints", "principals", "tokens"]
Part = tuple[Kind, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Copy:
    """What was found in the data folder. `saved_at` is a Unix time."""

    snapshot: Snapshot
    saved_at: float

    @property
    def age(self) -> float:
        return max(0.0, time.time() - self.saved_at)


def save(snapshot: Snapshot, *, path: Path, pause: Callable[[float], object]) -> bool:
    """Writes the copy, unless it is there already. False when another process is writing one now.

    `pause` is called between its parts, so that this never holds up whoever answers queries in the same process.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _opened(path.with_suffix(".lock")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _revision(path) != snapshot.revision:
            _write(snapshot, path, pause)
    return True


def load(*, path: Path) -> Copy | None:
    """The copy, if there is one that can be read."""
    try:
        with path.open("rb") as file:
            return _read(file)
    except FileNotFoundError:
        return None
    except (OSError, InvalidToken, ValidationError, ValueError, KeyError, TypeError) as problem:
        log.warning("The copy of the snapshot in %s cannot be used: %r", path, problem)
        return None


def _write(snapshot: Snapshot, path: Path, pause: Callable[[float], object]) -> None:
    draft = path.with_suffix(f".{uuid4().hex[:8]}")
    ring, mark = ciphers.ring().all, uuid4().hex
    parts = list(_parts(snapshot))
    header = {"mark": mark, "revision": snapshot.revision, "saved_at": time.time(), "parts": len(parts)}
    try:
        with _opened(draft) as file:
            file.write(ring.encrypt(to_json(header)) + b"\n")
            for number, (kind, things) in enumerate(parts):
                held = [_SPELL[kind](each) for each in things]
                file.write(ring.encrypt(to_json([mark, number, kind, held])) + b"\n")
                pause(PAUSE_SECONDS)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _read(file: Any) -> Copy:
    ring = ciphers.ring().all
    header = from_json(ring.decrypt(file.readline().strip()))
    found: dict[str, list[Any]] = {"endpoints": [], "principals": [], "tokens": []}
    for number in range(header["parts"]):
        mark, place, kind, things = from_json(ring.decrypt(file.readline().strip()))
        if (mark, place) != (header["mark"], number):
            raise ValueError("its parts do not belong together")
        found[kind] += things
    principals = {each.id: each for each in map(_PRINCIPAL.validate_python, found["principals"])}
    endpoints = [_endpoint(each) for each in found["endpoints"]]
    snapshot = Snapshot(
        revision=header["revision"],
        endpoints={each.name: each for each in endpoints},
        principals=principals,
        tokens={
            bytes.fromhex(digest): TokenEntry(principals[holder], expires_at)
            for digest, holder, expires_at in found["tokens"]
        },
        session_token_key=settings.PASS_KEY,
        egress=outbound.policy(),
        addresses=outbound.addresses(),
    )
    return Copy(snapshot, header["saved_at"])


def _revision(path: Path) -> int | None:
    """That of the copy which is there, if it can be read."""
    try:
        with path.open("rb") as file:
            return int(from_json(ciphers.ring().all.decrypt(file.readline().strip()))["revision"])
    except (OSError, InvalidToken, ValueError, KeyError, TypeError):
        return None


def _parts(snapshot: Snapshot) -> Iterator[Part]:
    yield from _cut("principals", list(snapshot.principals.values()))
    yield from _cut("tokens", list(snapshot.tokens.items()))
    yield from _cut("endpoints", list(snapshot.endpoints.values()))


def _cut(kind: Kind, things: Sequence[Any]) -> Iterator[Part]:
    for start in range(0, len(things), AT_ONCE):
        yield kind, things[start : start + AT_ONCE]


def _spell_endpoint(endpoint: Endpoint) -> list[Any]:
    bare = _ENDPOINT.dump_python(replace(endpoint, entities=()), mode="json")
    bare[_TIMEOUTS_KEY] = bare.pop("timeouts")
    return [bare, [_spell_entity(each) for each in endpoint.entities]]


def _spell_entity(entity: Entity) -> list[Any]:
    config = entity.config.dump(lambda name, secret: {f"{name}_plaintext": secret.reveal()})
    return [entity.name, entity.provider, entity.model, entity.task.value, config]


def _endpoint(spelled: list[Any]) -> Endpoint:
    bare, entities = spelled
    bare["timeouts"] = bare.pop(_TIMEOUTS_KEY, None)
    return replace(_ENDPOINT.validate_python(bare), entities=tuple(_entity(*each) for each in entities))


def _entity(name: str, provider: str, model: str, task: str, config: dict[str, Any]) -> Entity:
    made = PROVIDERS[provider].config.model_validate(config, context=TRUSTED)
    return Entity(name=name, provider=provider, model=model, task=Task(task), config=made)


_SPELL: dict[Kind, Callable[[Any], Any]] = {
    "endpoints": _spell_endpoint,
    "principals": lambda principal: _PRINCIPAL.dump_python(principal, mode="json"),
    "tokens": lambda item: [item[0].hex(), item[1].principal.id, item[1].expires_at],
}


def _opened(path: Path) -> Any:
    """For writing, and for its owner's eyes alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb")
