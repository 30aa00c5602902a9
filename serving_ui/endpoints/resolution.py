"""Turns a stored config into one that can be sent: each secret's value in its place. For deployment and snapshots alone."""

from __future__ import annotations

from django.utils.translation import gettext as _

from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.vault import ciphers, queries


class Unresolved(Exception):
    """A secret cannot be had; the text says which and what to do."""


def resolve(config: ConfigSpec) -> ConfigSpec:
    """The config with every secret as plaintext. Raises Unresolved."""
    found = config.secrets()
    references = references_of(config)
    ids = {s.stored_id for s in found.values() if s.stored_id}
    try:
        values = queries.values(references=references) if references else {}
        pasted = queries.stored_values(ids=ids) if ids else {}
    except ciphers.Unreadable as error:
        raise Unresolved(
            _("A secret cannot be decrypted: %(reason)s. Restore the vault's key, or give the secret again.")
            % {"reason": error}
        ) from None
    plain: dict[tuple[str | int, ...], Secret] = {}
    for path, secret in found.items():
        value = pasted.get(secret.stored_id) if secret.stored_id else values.get(_named(secret))
        if value is None:
            raise Unresolved(_missing(secret))
        if not _is_text(value):
            raise Unresolved(_no_text(secret))
        plain[path] = Secret.from_plaintext(value)
    return config.with_secrets(plain)


def references_of(config: ConfigSpec) -> set[queries.Reference]:
    """Scope and key of every secret that the config names."""
    return {_named(secret) for secret in config.secrets().values() if secret.kind == "reference"}


def _named(secret: Secret) -> queries.Reference:
    return secret.scope or "", secret.key or ""


def _missing(secret: Secret) -> str:
    if secret.kind == "reference":
        return _("Secret scope %(scope)s has no key %(key)s any more. Put it again on the Secrets page.") % {
            "scope": secret.scope,
            "key": secret.key,
        }
    return _("A pasted secret is gone. Edit the endpoint and give it again.")


def _is_text(value: str) -> bool:
    """False for bytes that a client of the API put: they are kept as they are, and no provider can be sent them."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _no_text(secret: Secret) -> str:
    return _("The value of key %(key)s in secret scope %(scope)s is not text. Put a text there.") % {
        "scope": secret.scope,
        "key": secret.key,
    }
