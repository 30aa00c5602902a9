"""Replaces each secret of a stored config by its plaintext. Used only by deployment and snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from serving_ui.catalogue.problems import Path
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints import bindings
from serving_ui.endpoints.bindings import Bound
from serving_ui.endpoints.models import ConfigVersion
from serving_ui.vault import ciphers, queries


class Unresolved(Exception):
    """A secret is not available. The text says which one and what to do."""


@dataclass(frozen=True, slots=True)
class SecretValues:
    """The encrypted values of the secrets of some config versions. Two queries."""

    bound: Mapping[int, Mapping[str, Bound]]
    """By version and by `bindings.place_of` the secret's path in the config."""
    pasted: Mapping[str, queries.EncryptedValue]
    """Values that were pasted into a config, by id."""

    @classmethod
    def load(cls, versions: Iterable[ConfigVersion]) -> SecretValues:
        """The values of these versions; a value that does not exist is missing."""
        with_references: set[int] = set()
        pasted: set[str] = set()
        for version in versions:
            for secret in version.config.secrets().values():
                if secret.stored_id:
                    pasted.add(secret.stored_id)
                else:
                    with_references.add(version.pk)
        bound: dict[int, dict[str, Bound]] = {}
        for row in bindings.of_versions(with_references) if with_references else ():
            bound.setdefault(row.version_id, {})[row.place] = row
        return cls(bound=bound, pasted=queries.encrypted_values(ids=pasted))

    def authorisers(self, version: ConfigVersion) -> frozenset[str]:
        """Ids of the users on whose right its references are sent."""
        return frozenset(row.authoriser_id for row in self.bound.get(version.pk, {}).values())

    def value(self, version: ConfigVersion, path: Path, secret: Secret) -> str:
        """The secret's value. Raises Unresolved."""
        try:
            value = self._encrypted_value(version, path, secret).decrypt()
        except ciphers.CannotDecrypt as error:
            raise Unresolved(
                _(
                    "A secret cannot be decrypted: %(reason)s. Restore the vault's key, or give the secret again."
                )
                % {"reason": error}
            ) from None
        if not _is_text(value):
            raise Unresolved(_not_text(secret))
        return value

    def _encrypted_value(self, version: ConfigVersion, path: Path, secret: Secret) -> queries.EncryptedValue:
        if secret.stored_id:
            found = self.pasted.get(secret.stored_id)
            if found is None:
                raise Unresolved(
                    _("A pasted secret no longer exists. Edit the endpoint and enter the secret again.")
                )
            return found
        row = self.bound.get(version.pk, {}).get(bindings.place_of(path))
        if row is None:
            raise Unresolved(_unbound(secret))
        if reason := bindings.problem(row):
            raise Unresolved(reason)
        return bindings.encrypted_value(row)


def resolve(version: ConfigVersion, *, values: SecretValues | None = None) -> ConfigSpec:
    """The version's config with every secret as plaintext. Raises Unresolved."""
    values = values or SecretValues.load([version])
    config = version.config
    plain = {
        path: Secret.from_plaintext(values.value(version, path, secret))
        for path, secret in config.secrets().items()
    }
    return config.with_secrets(plain)


def references_of(config: ConfigSpec) -> set[queries.Reference]:
    """Scope and key of every secret reference of the config."""
    return {
        (secret.scope or "", secret.key or "")
        for secret in config.secrets().values()
        if secret.kind == "reference"
    }


def _unbound(secret: Secret) -> str:
    return _(
        "This configuration was stored by an earlier release, which did not record who gave the secret %(secret)s. Retry the update, or edit the endpoint."
    ) % {"secret": secret.reference}


def _is_text(value: str) -> bool:
    """False for bytes that a client of the API stored. They hold surrogates, and cannot be sent to a provider."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _not_text(secret: Secret) -> str:
    return _("The value of key %(key)s in secret scope %(scope)s is not text. Store a text there.") % {
        "scope": secret.scope,
        "key": secret.key,
    }
