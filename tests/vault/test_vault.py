"""Scopes, keys, encryption and drafts."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from serving_ui.accounts.models import User
from serving_ui.lib import clock
from serving_ui.lib.refusal import AlreadyExists, NotFound, Refusal
from serving_ui.vault import ciphers, commands, drafts, queries
from serving_ui.vault.models import StoredSecret

VALUE = "sk-very-secret-value"


def put(actor: User, scope: str = "prod", key: str = "openai", value: str = VALUE) -> None:
    if not queries.scopes(actor=actor).filter(name=scope).exists():
        commands.create_scope(name=scope, actor=actor, now=clock.now())
    commands.put_secret(scope=scope, key=key, value=value, actor=actor, now=clock.now())


def rotate_keys() -> str:
    """What the command prints."""
    output = StringIO()
    call_command("rotate_keys", stdout=output)
    return output.getvalue()


def value(actor: User) -> str:
    return queries.value_of(scope="prod", key="openai", actor=actor).decode()


def test_a_value_is_stored_and_read_back_with_the_right_to_read(owner: User):
    put(owner)
    assert value(owner) == VALUE
    assert VALUE not in repr(list(StoredSecret.objects.values()))


def test_storing_a_key_again_replaces_its_value(owner: User):
    put(owner)
    put(owner, value="second")
    assert value(owner) == "second"
    assert StoredSecret.objects.count() == 1


def test_a_stranger_does_not_learn_that_a_scope_exists(owner: User, stranger: User, admin: User):
    put(owner)
    assert list(queries.scopes(actor=stranger)) == []
    with pytest.raises(NotFound):
        commands.put_secret(scope="prod", key="openai", value="x", actor=stranger, now=clock.now())
    with pytest.raises(NotFound):
        commands.delete_scope(name="prod", actor=stranger, now=clock.now())
    assert [scope.name for scope in queries.scopes(actor=admin)] == ["prod"]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 129, "{{"])
def test_bad_names_are_refused_with_their_field(owner: User, name: str):
    with pytest.raises(Refusal) as refusal:
        commands.create_scope(name=name, actor=owner, now=clock.now())
    assert refusal.value.field == "scope"


def test_a_duplicate_scope_is_refused(owner: User, admin: User):
    put(owner)
    with pytest.raises(AlreadyExists):
        commands.create_scope(name="prod", actor=admin, now=clock.now())


def test_keys_rotate_while_the_server_runs_and_the_old_one_is_needed_until_every_secret_has_the_new_one(
    owner: User, settings: Any
):
    put(owner)
    put(owner, key="other")
    old = settings.VAULT_KEYS[0]
    settings.VAULT_KEYS = [f"second {Fernet.generate_key().decode()}", old]
    assert value(owner) == VALUE
    assert commands.rewrap(limit=1) == 1
    assert rotate_keys() == "Every secret is encrypted with the key second.\n"
    settings.VAULT_KEYS = settings.VAULT_KEYS[:1]
    assert value(owner) == VALUE


def test_rotating_keys_fails_at_a_secret_that_cannot_be_read(owner: User, settings: Any):
    put(owner)
    settings.VAULT_KEYS = [f"second {Fernet.generate_key().decode()}"]
    with pytest.raises(CommandError, match="A secret cannot be read"):
        rotate_keys()


def test_a_missing_encryption_key_is_an_error(owner: User, settings: Any):
    put(owner)
    settings.VAULT_KEYS = [f"other {Fernet.generate_key().decode()}"]
    with pytest.raises(ciphers.CannotDecrypt):
        value(owner)


def test_a_draft_can_be_decrypted_for_its_purpose_only():
    token = drafts.encrypt(VALUE, purpose="1:openai_api_key")
    assert VALUE not in token
    assert drafts.decrypt(token, purpose="1:openai_api_key") == VALUE
    with pytest.raises(drafts.DraftInvalid):
        drafts.decrypt(token, purpose="2:openai_api_key")
    with pytest.raises(drafts.DraftInvalid):
        drafts.decrypt(token + "x", purpose="1:openai_api_key")
    with pytest.raises(drafts.DraftInvalid):
        drafts.decrypt(token, purpose="1:openai_api_key", max_age=-1)


def test_the_keys_of_readable_scopes_are_listed_in_one_query(
    owner: User, stranger: User, django_assert_num_queries: Any
):
    put(owner)
    put(owner, key="other")
    wanted = [("prod", "openai"), ("prod", "none"), ("none", "openai")]
    with django_assert_num_queries(1):
        found = queries.readable(references=wanted, actor=owner)
    assert found == {("prod", "openai"): StoredSecret.objects.get(key="openai")}
    assert queries.readable(references=wanted, actor=stranger) == {}
    with django_assert_num_queries(0):
        assert queries.readable(references=[], actor=owner) == {}
