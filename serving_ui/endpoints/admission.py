"""What is checked before a config is accepted, beyond its shape: its secrets may be used, its addresses reached.

A secret is bound to where it may be sent: kept on an edit only while the destinations of its entity stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from serving_ui.accounts.models import User
from serving_ui.catalogue.changes import destinations
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.catalogue.text import Text, _
from serving_ui.endpoints import outbound
from serving_ui.lib.egress import EgressRefused
from serving_ui.vault import commands as vault
from serving_ui.vault import queries as secrets
from serving_ui.vault.errors import VaultError

Path = tuple[str | int, ...]


def admit(config: ConfigSpec, *, earlier: Iterable[ConfigSpec], actor: User, now: datetime) -> ConfigSpec:
    """The config ready to be stored: pasted secrets in the vault. Raises SpecErrors, having stored nothing."""
    problems = _address_problems(config)
    plaintexts: dict[Path, Secret] = {}
    before = list(earlier)
    for path, secret in config.secrets().items():
        if secret.kind == "plaintext":
            plaintexts[path] = secret
        elif not _is_kept(path, secret, config, before):
            problems += _secret_problems(path, secret, actor)
    if problems:
        raise SpecErrors(problems)
    stored = {
        path: Secret.from_stored(vault.store(value=s.reveal(), now=now)) for path, s in plaintexts.items()
    }
    return config.with_secrets(stored) if stored else config


def _address_problems(config: ConfigSpec) -> list[Problem]:
    problems = []
    for position, entity in enumerate(config.served_entities):
        model = entity.external_model
        provider = model.described
        try:
            outbound.policy().check_url(provider.base_url(model.config, outbound.addresses()))
        except EgressRefused as refusal:
            block: Path = ("served_entities", position, "external_model", provider.config_key)
            address = next((field.path for field in provider.config.fields() if field.kind == "url"), ())
            problems.append(Problem(path=(*block, *address), message=Text(str(refusal)), code="egress"))
    return problems


def _is_kept(path: Path, secret: Secret, config: ConfigSpec, earlier: list[ConfigSpec]) -> bool:
    """Whether an entity, wherever it stood, already sends the same secret to the same places: then no right to read it is needed."""
    _entities, position, *inner = path
    aims = destinations(config.served_entities[int(position)], outbound.addresses())
    return any(
        old.secrets().get(("served_entities", place, *inner)) == secret
        and aims == destinations(entity, outbound.addresses())
        for old in earlier
        for place, entity in enumerate(old.served_entities)
    )


def _secret_problems(path: Path, secret: Secret, actor: User) -> list[Problem]:
    if secret.kind == "stored":
        message = _(
            "What decides where or how it is sent was changed, and a stored secret is only sent where it was given for. Give it again."
        )
        return [Problem(path=path, message=message, code="secret_bound")]
    scope, key = secret.scope or "", secret.key or ""
    try:
        secrets.readable_scope(name=scope, actor=actor)
    except VaultError as refusal:
        return [Problem(path=path, message=Text(str(refusal)), code="secret_scope")]
    if secrets.missing(references=[(scope, key)]):
        message = _("Secret scope %(scope)s has no key %(key)s. Put it on the Secrets page, or name another.")
        return [Problem(path=path, message=message.fill(scope=scope, key=key), code="secret_key")]
    return []
