"""Checks of a config beyond its schema: its secrets may be used, and its addresses may be reached.

A reference is bound to the secret that now has this name, with the submitting user as authoriser. A user who may not read the secret
can only keep it, if this endpoint sent it to the same destination before; the authoriser then stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from serving_ui.accounts.models import User
from serving_ui.catalogue.changes import destinations
from serving_ui.catalogue.model_source import ModelSource
from serving_ui.catalogue.problems import Path, Problem, SpecErrors
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.catalogue.translatable import TranslatableText, _
from serving_ui.endpoints import bindings, outbound
from serving_ui.endpoints.bindings import Bound
from serving_ui.endpoints.model_sources import find_sources, variable_problems
from serving_ui.endpoints.models import ConfigVersion, SecretBinding
from serving_ui.endpoints.resolution import references_of
from serving_ui.lib.egress import EgressRefused
from serving_ui.lib.refusal import NotFound
from serving_ui.vault import commands as vault
from serving_ui.vault import queries as secrets
from serving_ui.vault.models import StoredSecret

Source = StoredSecret | Bound
"""What a reference is bound to: a secret that the user may read, or an earlier binding."""

_MOVED_STORED = _(
    "The settings that decide where and how this secret is sent were changed, and a stored secret is only sent to the destination it was entered for. Enter the secret again."
)
_MOVED_REFERENCE = _(
    "You may not read secret scope %(scope)s, so its secret can only be sent where and how this endpoint sent it before. Undo that change, or give another secret."
)


@dataclass(frozen=True)
class Admitted:
    """A config ready to be stored, with the bindings of its references, which are unsaved because they have no version yet."""

    config: ConfigSpec
    bindings: Sequence[SecretBinding] = ()
    sources: Sequence[ModelSource] = ()
    """Of own models, in the order of the served entities."""


def admit(
    config: ConfigSpec,
    *,
    earlier: Sequence[ConfigVersion],
    resubmitted: ConfigVersion | None = None,
    actor: User,
    now: datetime,
) -> Admitted:
    """Stores pasted secrets in the vault and binds references. Raises SpecErrors, and then stores nothing.

    `earlier` are the endpoint's versions, newest first; `resubmitted` is the one of them that is submitted again.
    """
    models, problems = find_sources(config)
    problems += [*_address_problems(config), *variable_problems(config, earlier=earlier, actor=actor)]
    uses = _EarlierUses(earlier, config)
    readable = secrets.readable(references=references_of(config), actor=actor)
    sources: dict[Path, Source] = {}
    for path, secret in config.secrets().items():
        source: Source | Problem | None = None
        if secret.kind == "stored" and not any(is_same for *_place, is_same in uses.find_uses(path, secret)):
            source = Problem(path=path, message=_MOVED_STORED, code="secret_bound")
        elif secret.kind == "reference":
            found = readable.get((secret.scope or "", secret.key or ""))
            source = uses.confirm(resubmitted, path, found) if found else _keep(uses, path, secret, actor)
        if isinstance(source, Problem):
            problems.append(source)
        elif source is not None:
            sources[path] = source
    if problems:
        raise SpecErrors(problems)
    config = _with_stored(config, now)
    bound = [
        bindings.copy_binding(source, path)
        if isinstance(source, Bound)
        else bindings.new_binding(path, source, authoriser=actor)
        for path, source in sources.items()
    ]
    if models:
        config = config.with_tasks([model.task for model in models])
    return Admitted(config, bound, models)


def _with_stored(config: ConfigSpec, now: datetime) -> ConfigSpec:
    """The config with its pasted secrets in the vault."""
    pasted = {path: each for path, each in config.secrets().items() if each.kind == "plaintext"}
    stored = {
        path: Secret.from_stored(vault.store(value=each.reveal(), now=now)) for path, each in pasted.items()
    }
    return config.with_secrets(stored) if stored else config


class _EarlierUses:
    """The places where earlier versions of the endpoint use a secret, newest first, with their bindings."""

    def __init__(self, versions: Sequence[ConfigVersion], config: ConfigSpec) -> None:
        self._versions = versions
        self._config = config

    @cached_property
    def _bindings(self) -> dict[tuple[int, str], Bound]:
        found = bindings.of_versions(version.pk for version in self._versions)
        return {(row.version_id, row.place): row for row in found}

    def find_uses(self, path: Path, secret: Secret) -> Iterator[tuple[ConfigVersion, Path, bool]]:
        """Each version and path in which any served entity has the same secret, and whether it is sent to the same destination."""
        _entities, position, *inner = path
        targets = destinations(self._config.served_entities[int(position)], outbound.addresses())
        for version in self._versions:
            earlier = version.config.secrets()
            for at, entity in enumerate(version.config.served_entities):
                place = ("served_entities", at, *inner)
                if earlier.get(place) == secret:
                    yield version, place, targets == destinations(entity, outbound.addresses())

    def bound_alike(self, path: Path, secret: Secret) -> list[Bound]:
        """The bindings of those uses that send it to the same destination."""
        found = (
            self._bindings.get((version.pk, bindings.place_of(place)))
            for version, place, is_same in self.find_uses(path, secret)
            if is_same
        )
        return [row for row in found if row is not None]

    def confirm(
        self, resubmitted: ConfigVersion | None, path: Path, found: StoredSecret
    ) -> StoredSecret | Problem:
        """`found`, or a problem if the resubmitted version was bound to a deleted secret of the same name."""
        row = self._bindings.get((resubmitted.pk, bindings.place_of(path))) if resubmitted else None
        if row is None or row.secret_id == found.pk:
            return found
        return _right_problem(path, row)


def _keep(uses: _EarlierUses, path: Path, secret: Secret, actor: User) -> Bound | Problem:
    """The earlier binding that a user who may not read the secret keeps, or why the reference cannot be used."""
    found = uses.bound_alike(path, secret)
    for row in found:
        if bindings.problem(row) is None:
            return row
    if found:
        return _right_problem(path, found[0])
    if any(True for _use in uses.find_uses(path, secret)):
        message = _MOVED_REFERENCE.fill(scope=secret.scope)
        return Problem(path=path, message=message, code="secret_bound")
    return _unreadable(path, secret, actor)


def _right_problem(path: Path, row: Bound) -> Problem:
    return Problem(path=path, message=TranslatableText(bindings.problem(row) or ""), code="secret_right")


def _unreadable(path: Path, secret: Secret, actor: User) -> Problem:
    scope, key = secret.scope or "", secret.key or ""
    try:
        secrets.readable_scope(name=scope, actor=actor)
    except NotFound as refusal:
        return Problem(path=path, message=TranslatableText(str(refusal)), code="secret_scope")
    message = _(
        "Secret scope %(scope)s has no key %(key)s. Add it on the Secrets page, or give another reference."
    )
    return Problem(path=path, message=message.fill(scope=scope, key=key), code="secret_key")


def _address_problems(config: ConfigSpec) -> list[Problem]:
    problems = []
    for position, entity in enumerate(config.served_entities):
        model = entity.external_model
        if model is None:
            continue
        provider = model.provider_entry
        try:
            outbound.policy().check_url(provider.base_url(model.config, outbound.addresses()))
        except EgressRefused as refusal:
            block: Path = ("served_entities", position, "external_model", provider.config_key)
            address = next((field.path for field in provider.config.fields() if field.kind == "url"), ())
            problems.append(
                Problem(path=(*block, *address), message=TranslatableText(str(refusal)), code="egress")
            )
    return problems
