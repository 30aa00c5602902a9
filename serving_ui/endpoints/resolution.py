"""Turns a stored config into one that can be sent: each secret's value in its place. For deployment and snapshots alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.vault import ciphers, queries


class Unresolved(Exception):
    """A secret cannot be had; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Vault:
    """The values that some configs need, as they were at one moment: fetched in two queries, and still sealed."""

    named: Mapping[queries.Reference, queries.Sealed]
    pasted: Mapping[str, queries.Sealed]

    @classmethod
    def behind(cls, configs: Iterable[ConfigSpec]) -> Vault:
        """What these configs need, as far as it is there."""
        secrets = [secret for config in configs for secret in config.secrets().values()]
        return cls(
            named=queries.sealed(references=[_named(each) for each in secrets if each.kind == "reference"]),
            pasted=queries.sealed_stored(ids=[each.stored_id for each in secrets if each.stored_id]),
        )

    def value(self, secret: Secret) -> str:
        """The secret's value. Raises Unresolved."""
        found = self.pasted.get(secret.stored_id) if secret.stored_id else self.named.get(_named(secret))
        if found is None:
            raise Unresolved(_missing(secret))
        try:
            value = found.open()
        except ciphers.Unreadable as error:
            raise Unresolved(
                _(
                    "A secret cannot be decrypted: %(reason)s. Restore the vault's key, or give the secret again."
                )
                % {"reason": error}
            ) from None
        if not _is_text(value):
            raise Unresolved(_no_text(secret))
        return value


def resolve(config: ConfigSpec, *, vault: Vault | None = None) -> ConfigSpec:
    """The config with every secret as plaintext. Raises Unresolved."""
    vault = vault or Vault.behind([config])
    plain = {path: Secret.from_plaintext(vault.value(secret)) for path, secret in config.secrets().items()}
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
