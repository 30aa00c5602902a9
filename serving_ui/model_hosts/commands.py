"""What an admin does to a model host, for pages and API: create, update, delete, and check now.

Each command is atomic. Bad input raises SpecErrors, everything else a `lib.refusal.Refusal`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from serving_ui.accounts.directory import need_admin
from serving_ui.accounts.models import User
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec, parse_config
from serving_ui.catalogue.translatable import _ as translatable
from serving_ui.endpoints import commands as endpoints
from serving_ui.endpoints.admission import admit
from serving_ui.lib.changes import State, report_change
from serving_ui.lib.refusal import AlreadyExists, NotAllowed
from serving_ui.local_model.files import Files
from serving_ui.model_hosts import host_secrets, host_spec, queries
from serving_ui.model_hosts.host_spec import HostChanges, HostSpec, NamedModel
from serving_ui.model_hosts.models import Health, HostKind, ModelHost
from serving_ui.vault import commands as vault


def create_host(*, spec: HostSpec, actor: User, now: datetime) -> ModelHost:
    """A new host, which is checked within seconds. Raises SpecErrors and AlreadyExists."""
    need_admin(actor)
    config = host_spec.connection(spec, spec.kind, base_url=spec.base_url)
    host_spec.check_models(config, spec.models)
    try:
        with transaction.atomic():
            host = ModelHost(
                name=spec.name,
                kind=spec.kind,
                prefix=spec.prefix,
                named_models=_dumped(spec.models),
                creator=actor,
                created_at=now,
                modified_at=now,
                next_check_at=now,
            )
            _connect(host, config, actor=actor, now=now)
            host.save(force_insert=True)
            _report("create_host", host, actor, before=None, after=state_of(host))
    except IntegrityError:
        if not ModelHost.objects.filter(name=spec.name).exists():
            raise
        raise AlreadyExists(
            _("A model host named %(name)s exists already. Choose another name.") % {"name": spec.name},
            field="name",
        ) from None
    return host


def update_host(*, name: str, changes: HostChanges, actor: User, now: datetime) -> ModelHost:
    """Changes a host. Its endpoints get new configs at its next check, which is due at once. Raises SpecErrors and NotFound."""
    need_admin(actor)
    with transaction.atomic():
        host = queries.locked_host(name=name, actor=actor)
        if host.kind == HostKind.LOCAL:
            raise NotAllowed(_("The host of the models on this machine manages itself. Nobody edits it."))
        before = state_of(host)
        if changes.prefix is not None:
            host.prefix = changes.prefix
        if changes.models is not None:
            host.named_models = _dumped(changes.models)
        if changes.has_connection:
            _reconnect(host, changes, actor=actor, now=now)
        host_spec.check_models(host.config, [NamedModel.model_validate(each) for each in host.named_models])
        host.modified_at = host.next_check_at = now
        host.save()
        _report("update_host", host, actor, before=before, after=state_of(host))
    return host


def delete_host(*, name: str, actor: User, now: datetime) -> None:
    """Deletes a host with the endpoints of its models."""
    need_admin(actor)
    with transaction.atomic():
        host = queries.locked_host(name=name, actor=actor)
        if host.kind == HostKind.LOCAL and Files(settings.DATA).wish():
            raise NotAllowed(_("Stop the models on this machine. This deletes their hosts, too."))
        _delete(host, actor, action="delete_host")


def check_now(*, name: str, actor: User, now: datetime) -> ModelHost:
    """Makes the host due; the worker checks it within seconds."""
    need_admin(actor)
    host = queries.get_host(name=name, actor=actor)
    ModelHost.objects.filter(pk=host.pk).update(next_check_at=now)
    return host


def put_local_host(*, name: str, base_url: str, api_key: str, now: datetime, prefix: str = "") -> ModelHost:
    """The host of a server that this machine runs itself: made, or changed to its new address and key. Called by the product.

    Raises AlreadyExists if a host of another kind has the name.
    """
    block: dict[str, Any] = {"custom_provider_url": base_url}
    if api_key:
        block["bearer_token_auth"] = {"token_plaintext": api_key}
    model = {"provider": "custom", "name": "host", "task": "llm/v1/chat", "custom_provider_config": block}
    config = parse_config({"served_entities": [{"name": "host", "external_model": model}]})
    with transaction.atomic():
        host = ModelHost.objects.select_for_update().filter(name=name).first()
        if host and host.kind != HostKind.LOCAL:
            raise AlreadyExists(
                _("Another model host is named %(name)s. Delete that one first.") % {"name": name}
            )
        if host and host_secrets.connects_as(host, config):
            return host
        before = state_of(host) if host else None
        host = host or ModelHost(name=name, kind=HostKind.LOCAL, prefix=prefix, created_at=now, revision=0)
        _store_connection(host, config, now)
        host.modified_at = host.next_check_at = now
        host.save()
        _report("put_local_host", host, None, before=before, after=state_of(host))
    return host


def delete_local_host(*, name: str) -> None:
    """Deletes the host of `put_local_host` with the endpoints of its models. Called by the product."""
    with transaction.atomic():
        host = ModelHost.objects.select_for_update().filter(name=name, kind=HostKind.LOCAL).first()
        if host is not None:
            _delete(host, None, action="delete_local_host")


def state_of(host: ModelHost) -> State:
    """What its columns say, without secrets."""
    return {
        "name": host.name,
        "kind": str(host.kind),
        "prefix": host.prefix,
        "models": host.named_models,
        "connection": host.config.public()["served_entities"][0]["external_model"],
        "revision": host.revision,
    }


def _report(
    action: str, host: ModelHost, actor: User | None, *, before: State | None, after: State | None
) -> None:
    report_change(
        action, kind="model host", id=host.pk, name=host.name, actor=actor, before=before, after=after
    )


def _dumped(models: list[NamedModel]) -> list[dict[str, Any]]:
    return [model.model_dump(mode="json") for model in models]


def _connect(host: ModelHost, config: ConfigSpec, *, actor: User, now: datetime) -> None:
    """Keeps `config` as the way to reach the host, with its secrets. Raises SpecErrors."""
    try:
        admitted = admit(config, earlier=[], actor=actor, now=now)
    except SpecErrors as errors:
        raise SpecErrors([host_spec.problem_of_host(each, host.kind) for each in errors.problems]) from None
    host.spec = admitted.config.stored()
    host.bound_secrets = {row.place: row.secret_id for row in admitted.bindings}
    host.authoriser = actor if admitted.bindings else None
    host.__dict__.pop("config", None)


def _reconnect(host: ModelHost, changes: HostChanges, *, actor: User, now: datetime) -> None:
    """Does nothing if only the address is given and it is the same as before: the secret is kept."""
    base_url = host.base_url if changes.base_url is None else changes.base_url
    is_given = changes.secret is not None or changes.secret_plaintext is not None or changes.account
    if not is_given and base_url.rstrip("/") == host.base_url.rstrip("/"):
        return
    if not is_given and host.config.secrets():
        message = translatable(
            "The address was changed, and a stored secret is only sent to the address that it was given for. Give the secret again."
        )
        raise SpecErrors([Problem(("secret",), message, "secret_bound")])
    config = host_spec.connection(changes, host.kind, base_url=base_url)
    former = host.config
    _connect(host, config, actor=actor, now=now)
    _forget(former)
    _restart(host)


def _store_connection(host: ModelHost, config: ConfigSpec, now: datetime) -> None:
    former = host.config if host.spec else None
    stored = {
        path: Secret.from_stored(vault.store(value=secret.reveal(), now=now))
        for path, secret in config.secrets().items()
    }
    host.spec = config.with_secrets(stored).stored()
    host.__dict__.pop("config", None)
    if former:
        _forget(former)
    _restart(host)


def _restart(host: ModelHost) -> None:
    host.revision += 1
    host.health, host.error, host.note, host.failures = Health.UNCHECKED, "", "", 0


def _forget(config: ConfigSpec) -> None:
    vault.forget(ids=[secret.stored_id for secret in config.secrets().values() if secret.stored_id])


def _delete(host: ModelHost, actor: User | None, *, action: str) -> None:
    before = state_of(host)
    models = host.models.select_related("endpoint__active", "endpoint__pending", "endpoint__latest")
    endpoints.remove_endpoints([model.endpoint for model in models], action="delete_endpoint", actor=actor)
    _forget(host.config)
    _report(action, host, actor, before=before, after=None)
    host.delete()
