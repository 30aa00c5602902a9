"""The models on this machine: an admin starts and stops them, and those that run are model hosts.

`up` runs them (serving_ui/processes/local_models.py). This side only writes the wish, reads the state, and keeps the rows equal to it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from serving_ui.accounts.directory import need_admin
from serving_ui.accounts.models import User
from serving_ui.lib.changes import report_change
from serving_ui.lib.refusal import AlreadyExists, NotAllowed
from serving_ui.local_model.files import Files, Status
from serving_ui.local_model.weights import host_name
from serving_ui.model_hosts import commands
from serving_ui.model_hosts.models import Health, HostKind, ModelHost

log = logging.getLogger(__name__)
PREFIX = "local"  # of the endpoints' names
SOON = timedelta(seconds=10)
"""A host whose server has just become ready is not left waiting longer for its next check."""
_reported: set[str] = set()


def files() -> Files:
    return Files(settings.DATA)


def start_local_models(*, actor: User) -> None:
    """Makes `up` install and start the models, or try again after a failure. Raises NotAllowed."""
    need_admin(actor)
    if not files().is_up_running():
        raise NotAllowed(_("Models on this machine need manage.py up, which does not run here."))
    with transaction.atomic():
        _report("start_local_models", actor, wanted=True)
        files().want()


def stop_local_models(*, actor: User) -> None:
    """Makes `up` stop the models. Their hosts and endpoints go within seconds."""
    need_admin(actor)
    with transaction.atomic():
        _report("stop_local_models", actor, wanted=False)
        files().stop_wanting()


def follow(*, now: datetime) -> None:
    """Makes the hosts of this machine what `up` runs. Does nothing where it has never run a model."""
    here = files()
    connections = here.connections()
    if not here.wish():
        _delete_hosts_at([each.base_url for each in connections.values()])
        return
    models = {each.name: each for each in here.status().models} if here.is_up_running() else {}
    if not models:
        return  # they will be started, or started again
    for name, each in models.items():
        if each.is_ready and name in connections:
            _put(name, connections[name].base_url, connections[name].key, now)
    _delete_hosts_at([each.base_url for name, each in connections.items() if name not in models])


def _put(model: str, base_url: str, key: str, now: datetime) -> None:
    name = host_name(model)
    try:
        host = commands.put_local_host(name=name, base_url=base_url, api_key=key, prefix=PREFIX, now=now)
    except AlreadyExists as problem:
        if name not in _reported:  # once; the page says it as long as it lasts
            _reported.add(name)
            log.warning("The model %s of this machine is not listed. %s", model, problem)
        return
    _reported.discard(name)
    if host.health == Health.UNREACHABLE and host.next_check_at > now + SOON:
        ModelHost.objects.filter(pk=host.pk).update(next_check_at=now)


def _delete_hosts_at(addresses: list[str]) -> None:
    for host in ModelHost.objects.filter(kind=HostKind.LOCAL) if addresses else ():
        if host.base_url in addresses:
            commands.delete_local_host(name=host.name)


@dataclass(frozen=True)
class LocalModels:
    """What the pages show of the models on this machine."""

    is_wanted: bool
    status: Status
    taken: frozenset[str]  # models whose host's name a host of another kind has
    is_settled: bool  # the hosts are those of the models that run


def current() -> LocalModels | None:
    """None where `up` does not run, so that nobody would start them. One query while models run or have just stopped."""
    here = files()
    if not here.is_up_running():
        return None
    wish, status, connections = bool(here.wish()), here.status(), here.connections()
    ready = {host_name(each.name): each.name for each in status.models if each.is_ready} if wish else {}
    if not connections or (wish and not ready):
        return LocalModels(wish, status, frozenset(), is_settled=not wish)
    hosts = {host.name: host for host in ModelHost.objects.all()}
    taken = {name for name in ready if name in hosts and hosts[name].kind != HostKind.LOCAL}
    listed = {name for name in ready if name in hosts and hosts[name].health == Health.ONLINE}
    addresses = {each.base_url for each in connections.values()}
    left = any(each.kind == HostKind.LOCAL and each.base_url in addresses for each in hosts.values())
    is_starting = any(not each.is_ready and not each.message for each in status.models)
    is_settled = not is_starting and ready.keys() <= taken | listed if wish else not left
    return LocalModels(wish, status, frozenset(ready[name] for name in taken), is_settled=is_settled)


def _report(action: str, actor: User, *, wanted: bool) -> None:
    former = bool(files().wish())
    report_change(
        action,
        kind="local models",
        id="local",
        name="local",
        actor=actor,
        before={"wanted": former},
        after={"wanted": wanted},
    )
