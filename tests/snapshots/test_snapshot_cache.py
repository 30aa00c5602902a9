"""The cached snapshot equals the one that was saved; its file is encrypted, private, and ignored if it is broken."""

from __future__ import annotations

import fcntl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic_core import from_json

from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints import outbound
from serving_ui.gateway.snapshot import (
    Endpoint,
    Entity,
    Limit,
    Principal,
    Snapshot,
    SnapshotHolder,
    TokenEntry,
)
from serving_ui.gateway.timeouts import Timeouts
from serving_ui.snapshots import snapshot_cache
from serving_ui.snapshots.cache_writer import SnapshotCacheWriter
from serving_ui.vault import ciphers
from tests.catalogue.samples import CANARY, VARIANTS, Variant
from tests.support.waiting import wait_until

ANN = Principal("1", "ann@example.com", is_admin=True, groups=frozenset({"g1", "g2"}))
BOB = Principal("2", "b0b", kind="service_principal")


def entity(variant: Variant) -> Entity:
    made = variant.config.model_validate(variant.full())
    secrets = {path: Secret.from_plaintext(f"{CANARY}-{'-'.join(path)}") for path in made.secrets()}
    return Entity("entity", variant.provider.name, "model", Task.CHAT, made.with_secrets(secrets))


def snapshot(settings: Any) -> Snapshot:
    """A snapshot with every kind of item, in more than one part of the file."""
    full = Endpoint(
        "id-full",
        "full",
        Task.CHAT,
        tuple(entity(each) for each in VARIANTS),
        config_version=7,
        users=frozenset({"1", "2"}),
        viewers=frozenset({"3"}),
        limits=(Limit("user", 3), Limit("user_group", 5, unit="tokens", principal="g1", shown="red")),
        routes=(("entity", 100), ("other", 0)),
        fallback=True,
        timeouts=Timeouts(connect=1.5),
    )
    bad = Endpoint("id-bad", "bad", Task.EMBEDDINGS, (), ready=False, problem="No key.")
    many = [
        replace(bad, id=f"id-{n}", name=f"e{n}", everyone=True)
        for n in range(snapshot_cache.ITEMS_PER_PART * 2 + 5)
    ]
    return Snapshot(
        revision=42,
        endpoints={each.name: each for each in (full, bad, *many)},
        tokens={b"\1" * 32: TokenEntry(ANN, 1_900_000_000.5), b"\2" * 32: TokenEntry(BOB)},
        principals={"1": ANN, "2": BOB},
        session_token_key=settings.SESSION_TOKEN_KEY,
        egress=outbound.policy(),
        addresses=outbound.addresses(),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway" / "snapshot"


def save(made: Snapshot, path: Path) -> bool:
    return snapshot_cache.save(made, path=path, pause=lambda _seconds: None)


def test_what_is_read_equals_what_was_written(settings: Any, path: Path):
    made = snapshot(settings)
    assert save(made, path)
    found = snapshot_cache.load(path=path)
    assert found is not None
    assert found.snapshot == made
    assert found.age < 60


def test_the_file_is_encrypted_and_private(settings: Any, path: Path):
    save(snapshot(settings), path)
    content = path.read_bytes()
    assert CANARY.encode() not in content
    assert b"ann@example.com" not in content
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {each.name for each in path.parent.iterdir()} == {"snapshot", "snapshot.lock"}


def test_the_file_has_the_field_names_that_other_versions_of_the_program_read(settings: Any, path: Path):
    save(snapshot(settings), path)
    _header, *parts = (from_json(ciphers.ring().all.decrypt(line)) for line in path.read_bytes().splitlines())
    endpoints = [
        endpoint for _mark, _number, kind, items in parts if kind == "endpoints" for endpoint, _ in items
    ]
    full = next(endpoint for endpoint in endpoints if endpoint["name"] == "full")
    assert full["patience"]["connect"] == 1.5
    assert [limit["most"] for limit in full["limits"]] == [3, 5]


def test_without_a_file_there_is_no_snapshot(path: Path):
    assert snapshot_cache.load(path=path) is None


def test_a_file_with_an_unknown_key_is_ignored(settings: Any, path: Path):
    save(snapshot(settings), path)
    settings.VAULT_KEYS = [f"other {Fernet.generate_key().decode()}"]
    assert snapshot_cache.load(path=path) is None
    assert save(replace(snapshot(settings), revision=43), path)
    assert snapshot_cache.load(path=path) is not None


def test_a_key_that_was_rotated_still_opens_it(settings: Any, path: Path):
    save(snapshot(settings), path)
    settings.VAULT_KEYS = [f"newer {Fernet.generate_key().decode()}", *settings.VAULT_KEYS]
    assert snapshot_cache.load(path=path) is not None


@pytest.mark.parametrize("harm", ["cut", "mixed", "garbled", "swapped"])
def test_a_broken_file_is_ignored(harm: str, settings: Any, path: Path):
    save(snapshot(settings), path)
    lines = path.read_bytes().splitlines(keepends=True)
    if harm == "cut":
        path.write_bytes(b"".join(lines[:-1]))
    elif harm == "garbled":
        path.write_bytes(b"".join([*lines[:-1], b"x" + lines[-1]]))
    elif harm == "swapped":
        path.write_bytes(b"".join([*lines[:-2], lines[-1], lines[-2]]))
    else:  # a part of an older file, which would restore a revoked right
        save(replace(snapshot(settings), revision=43), path)
        newer = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*newer[:-1], lines[-1]]))
    assert snapshot_cache.load(path=path) is None


def test_one_process_writes_and_only_a_new_revision(settings: Any, path: Path):
    made = snapshot(settings)
    save(made, path)
    written = path.stat().st_ino
    assert save(made, path)
    assert path.stat().st_ino == written
    with path.with_suffix(".lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not save(replace(made, revision=43), path)
    assert path.stat().st_ino == written


def test_a_failed_write_is_logged_once_and_tried_again(
    path: Path, settings: Any, caplog: pytest.LogCaptureFixture
):
    path.parent.write_text("a file where the folder should be")
    writer = SnapshotCacheWriter(SnapshotHolder(snapshot(settings)), path=path)
    writer.start()
    try:
        wait_until(lambda: caplog.records)
        assert "Make room there" in wait_until(writer.check_health)
        path.parent.unlink()
        wait_until(path.exists)
        wait_until(lambda: writer.check_health() is None)
    finally:
        writer.stop()
    assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [("ERROR", False)]
