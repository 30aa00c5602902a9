"""The secrets of model hosts: for their checks, and for the configs of their endpoints.

A host keeps the id of the secret that each of its references means and the user on whose right it is sent, like the bindings of an
endpoint's config (`endpoints/bindings.py`), so a secret that was deleted and made anew under the same name is not sent.
"""

from __future__ import annotations

from django.utils.translation import gettext as _

from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.problems import Path
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints import bindings
from serving_ui.endpoints.models import SecretBinding
from serving_ui.endpoints.resolution import references_of
from serving_ui.model_hosts.models import ModelHost
from serving_ui.vault import ciphers
from serving_ui.vault import commands as vault
from serving_ui.vault import queries as secrets
from serving_ui.vault.models import StoredSecret


class Unusable(Exception):
    """A secret of the host may not be sent or cannot be read. The text says which one and what to do."""


def resolved(host: ModelHost) -> ExternalModel:
    """How the host is reached, with its secrets as plaintext. Raises Unusable."""
    config = host.config
    stored = secrets.encrypted_values(ids=[s.stored_id for s in config.secrets().values() if s.stored_id])
    bound = _readable(host)
    plain = {}
    try:
        for path, secret in config.secrets().items():
            found = bound.get(path)
            value = secrets.EncryptedValue(found.key_id, found.ciphertext) if found else None
            value = value or stored.get(secret.stored_id or "")
            if value is None:
                raise Unusable(_unusable(host, secret))
            plain[path] = Secret.from_plaintext(value.decrypt())
    except ciphers.CannotDecrypt as error:
        raise Unusable(
            _("A secret cannot be decrypted: %(reason)s. Restore the vault's key, or give the secret again.")
            % {"reason": error}
        ) from None
    return config.with_secrets(plain).served_entities[0].external


def connects_as(host: ModelHost, config: ConfigSpec) -> bool:
    """Whether the host has this address and these secrets, which are plaintext, already."""
    try:
        mine = resolved(host)
    except Unusable:
        return False
    other = config.served_entities[0].external
    secrets_of = [
        {path: secret.reveal() for path, secret in each.config.secrets().items()} for each in (mine, other)
    ]
    return (
        secrets_of[0] == secrets_of[1]
        and mine.config.flat()["custom_provider_url"] == other.config.flat()["custom_provider_url"]
    )


def for_endpoint(host: ModelHost, config: ConfigSpec) -> tuple[ConfigSpec, list[SecretBinding]]:
    """`config` of one of its endpoints with copies of the host's stored secrets, and the unsaved bindings of its references.

    Its secrets have the same paths as those of the host. Raises Unusable.
    """
    bound = _readable(host)
    copies: dict[Path, Secret] = {}
    rows = []
    for path, secret in host.config.secrets().items():
        if secret.stored_id:
            found = StoredSecret.objects.filter(pk=secret.stored_id).first()
            if found is None:
                raise Unusable(_unusable(host, secret))
            copies[path] = Secret.from_stored(vault.copy(secret=found))
        elif path in bound and host.authoriser:
            rows.append(bindings.new_binding(path, bound[path], authoriser=host.authoriser))
        else:
            raise Unusable(_unusable(host, secret))
    return (config.with_secrets(copies) if copies else config), rows


def _readable(host: ModelHost) -> dict[Path, StoredSecret]:
    """The secrets that the host's references mean and that its authoriser may read now, by path."""
    references = references_of(host.config)
    if not references or host.authoriser is None or not host.authoriser.is_active:
        return {}
    found = secrets.readable(references=references, actor=host.authoriser)
    return {
        path: row
        for path, secret in host.config.secrets().items()
        if (row := found.get((secret.scope or "", secret.key or "")))
        and row.pk == host.bound_secrets.get(bindings.place_of(path))
    }


def _unusable(host: ModelHost, secret: Secret) -> str:
    if secret.kind != "reference":
        return _("The secret of this host no longer exists. Edit the host and enter the secret again.")
    person = host.authoriser.email if host.authoriser else _("nobody")
    if host.authoriser and not host.authoriser.is_active:
        sentence = _(
            "%(person)s, who gave this host the secret %(secret)s, is deactivated. Edit the host and give the secret again."
        )
    else:
        sentence = _(
            "The secret %(secret)s of this host was deleted, or %(person)s, who gave it, may no longer read it. Edit the host and give it a secret."
        )
    return sentence % {"person": person, "secret": secret.reference}
