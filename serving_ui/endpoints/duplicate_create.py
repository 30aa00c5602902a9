"""The refusal of a create whose name is taken. It tells a client that repeats a create, because the answer was lost, that the
first one succeeded."""

from __future__ import annotations

from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints import queries
from serving_ui.endpoints.models import Endpoint
from serving_ui.endpoints.permissions import Action, allows
from serving_ui.lib.refusal import AlreadyExists, NotFound
from serving_ui.vault import ciphers
from serving_ui.vault import queries as vault


def duplicate_refusal(*, name: str, config: ConfigSpec | None, actor: User) -> AlreadyExists:
    """Names creator and time of the existing endpoint, and tells those who manage it whether its newest config equals `config`."""
    taken = _("An endpoint named %(name)s exists already.") % {"name": name}
    try:
        endpoint = queries.get_endpoint(name=name, actor=actor)
    except NotFound:
        return AlreadyExists(_("%(taken)s You may not see it. Choose another name.") % {"taken": taken})
    created = _("It was created by %(creator)s at %(at)s.") % {
        "creator": endpoint.creator.email if endpoint.creator else _("Serving UI"),
        "at": f"{endpoint.created_at:%Y-%m-%d %H:%M:%S} UTC",
    }
    return AlreadyExists(f"{taken} {created} {_comparison(endpoint, config)}".strip())


def _comparison(endpoint: Endpoint, config: ConfigSpec | None) -> str:
    if not allows(endpoint.level, Action.MANAGE):
        return _("Choose another name.")
    newest = endpoint.latest.config if endpoint.latest else None
    if config is None or newest is None:
        if config is newest:
            return _("It has no config yet, as in your request, so there is nothing left to do.")
        return _("Update its config, or choose another name.")
    if is_same_config(newest, config):
        return _("Its newest config is the same as the one in your request, so there is nothing left to do.")
    return _("Its newest config differs from the one in your request. Update it, or choose another name.")


def is_same_config(stored: ConfigSpec, requested: ConfigSpec) -> bool:
    """Whether two configs are equal. Pasted secrets are compared by value."""
    if stored.public() != requested.public():
        return False
    pasted = {path: secret.stored_id for path, secret in stored.secrets().items() if secret.stored_id}
    typed = {path: secret for path, secret in requested.secrets().items() if secret.kind == "plaintext"}
    if pasted.keys() != typed.keys():
        return False
    try:
        values = vault.stored_values(ids=set(pasted.values())) if pasted else {}
    except ciphers.CannotDecrypt:
        return False
    return all(values.get(stored_id) == typed[path].reveal() for path, stored_id in pasted.items())
