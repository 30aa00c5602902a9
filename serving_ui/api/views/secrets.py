"""Secret scopes, their keys, and who has which right on them."""

from __future__ import annotations

import base64
from typing import Literal

from django.utils.translation import gettext as _

from serving_ui.accounts import queries as accounts
from serving_ui.accounts.models import Group, User
from serving_ui.api import paging
from serving_ui.api.http import ApiRequest, Json
from serving_ui.api.query_parameters import required
from serving_ui.api.request_body import read_body
from serving_ui.api.response_warnings import warn_of_unknown_fields
from serving_ui.api.serializers import milliseconds
from serving_ui.catalogue import unknown
from serving_ui.catalogue.endpoint_config import ApiModel
from serving_ui.endpoints import takeover
from serving_ui.lib import clock
from serving_ui.lib.refusal import NotFound, Refusal
from serving_ui.vault import ciphers, commands, queries
from serving_ui.vault.commands import Grantee
from serving_ui.vault.rights import Right


class OfScope(ApiModel):
    scope: str


class OfKey(OfScope):
    key: str


class OfPrincipal(OfScope):
    principal: str


class NewScope(OfScope):
    initial_manage_principal: str | None = None
    scope_backend_type: Literal["DATABRICKS"] = "DATABRICKS"


class NewSecret(OfKey):
    """The value is either text, or bytes in base64."""

    string_value: str | None = None
    bytes_value: str | None = None


class NewAcl(OfPrincipal):
    permission: Literal["READ", "WRITE", "MANAGE"]


def create_scope(request: ApiRequest) -> Json:
    """POST secrets/scopes/create."""
    wanted = read_body(NewScope, request.json)
    warn_of_unknown_fields(request, unknown.in_model(NewScope, request.json))
    manager = _grantee(wanted.initial_manage_principal) if wanted.initial_manage_principal else None
    commands.create_scope(name=wanted.scope, manager=manager, actor=request.user, now=clock.now())
    return {}


def delete_scope(request: ApiRequest) -> Json:
    """POST secrets/scopes/delete."""
    wanted = read_body(OfScope, request.json)
    commands.delete_scope(name=wanted.scope, actor=request.user, now=clock.now())
    return {}


def list_scopes(request: ApiRequest) -> Json:
    """GET secrets/scopes/list."""
    rows = queries.scopes(actor=request.user).prefetch_related(None)
    found, more = paging.page_or_all(request, rows, order=("name",), key=lambda row: (row.name,))
    return {"scopes": [{"name": scope.name, "backend_type": "DATABRICKS"} for scope in found], **more}


def put_secret(request: ApiRequest) -> Json:
    """POST secrets/put."""
    wanted = read_body(NewSecret, request.json)
    warn_of_unknown_fields(request, unknown.in_model(NewSecret, request.json))
    commands.put_secret(
        scope=wanted.scope, key=wanted.key, value=_value(wanted), actor=request.user, now=clock.now()
    )
    return {}


def delete_secret(request: ApiRequest) -> Json:
    """POST secrets/delete."""
    wanted = read_body(OfKey, request.json)
    commands.delete_secret(scope=wanted.scope, key=wanted.key, actor=request.user, now=clock.now())
    return {}


def list_secrets(request: ApiRequest) -> Json:
    """GET secrets/list: keys and when each was put."""
    scope = queries.readable_scope(name=required(request, "scope"), actor=request.user)
    found, more = paging.page_or_all(
        request, queries.keys(scope=scope), order=("key",), key=lambda row: (row.key,), of=f"{scope.pk}"
    )
    secrets = [
        {"key": secret.key, "last_updated_timestamp": milliseconds(secret.updated_at)} for secret in found
    ]
    return {"secrets": secrets, **more}


def get_secret(request: ApiRequest) -> Json:
    """GET secrets/get: the value, in base64, for whoever may read the scope."""
    scope, key = required(request, "scope"), required(request, "key")
    try:
        value = queries.value_of(scope=scope, key=key, actor=request.user)
    except ciphers.Unreadable as error:
        message = _(
            "The value cannot be decrypted: %(reason)s. Restore the vault's key, or put the value again."
        )
        raise Refusal(message % {"reason": error}, code="INVALID_STATE") from None
    return {"key": key, "value": base64.b64encode(value).decode()}


def put_acl(request: ApiRequest) -> Json:
    """POST secrets/acls/put."""
    wanted = read_body(NewAcl, request.json)
    queries.usable_scope(name=wanted.scope, actor=request.user, right=Right.MANAGE)
    commands.grant(
        scope=wanted.scope,
        to=_grantee(wanted.principal),
        right=Right[wanted.permission],
        actor=request.user,
        now=clock.now(),
    )
    return {}


def delete_acl(request: ApiRequest) -> Json:
    """POST secrets/acls/delete."""
    wanted = read_body(OfPrincipal, request.json)
    queries.usable_scope(name=wanted.scope, actor=request.user, right=Right.MANAGE)
    commands.withdraw(scope=wanted.scope, of=_grantee(wanted.principal), actor=request.user, now=clock.now())
    return {}


def list_acls(request: ApiRequest) -> Json:
    """GET secrets/acls/list."""
    found = _acls(request, required(request, "scope"))
    return {"items": [_acl(principal, right) for principal, right in found.items()]}


def get_acl(request: ApiRequest) -> Json:
    """GET secrets/acls/get."""
    scope, name = required(request, "scope"), required(request, "principal")
    for principal, right in _acls(request, scope).items():
        if principal.lower() == name.strip().lower():
            return _acl(principal, right)
    message = _("%(principal)s was given no right on secret scope %(scope)s.")
    raise NotFound(message % {"principal": name, "scope": scope}, field="principal")


def list_takeovers(request: ApiRequest) -> Json:
    """GET secrets/takeovers/list, an addition of ours: what endpoints are sent on the right of somebody who is deactivated."""
    rows, more = paging.page_or_all(
        request,
        takeover.pending_takeovers(actor=request.user),
        order=("pk",),
        key=lambda row: (row.pk,),
    )
    waiting = [
        {
            "endpoint": row.version.endpoint.name,
            "secret": row.reference,
            "authorised_by": row.authoriser.email,
        }
        for row in rows
    ]
    return {"takeovers": waiting, **more}


def _acls(request: ApiRequest, scope: str) -> dict[str, Right]:
    """Who has which right by name, the creator first; for those who manage the scope."""
    row = queries.usable_scope(name=scope, actor=request.user, right=Right.MANAGE)
    given = queries.grants(scope=scope, actor=request.user)
    return {
        row.creator.email: Right.MANAGE,
        **{str(grant.user or grant.group): Right(grant.right) for grant in given},
    }


def _acl(principal: str, right: Right) -> Json:
    return {"principal": principal, "permission": right.name}


def _grantee(name: str) -> Grantee:
    found = accounts.find_principal(name=name)
    if isinstance(found, User):
        return Grantee(found.email, user_id=found.pk)
    if isinstance(found, Group):
        return Grantee(found.name, group_id=found.pk)
    raise NotFound(_("There is no person, group or service principal named %(name)s here.") % {"name": name})


def _value(wanted: NewSecret) -> str:
    if (wanted.string_value is None) == (wanted.bytes_value is None):
        raise Refusal(_("Give either string_value, or bytes_value in base64."), field="string_value")
    if wanted.bytes_value is None:
        return wanted.string_value or ""
    try:
        return ciphers.as_text(base64.b64decode(wanted.bytes_value, validate=True))
    except ValueError:  # what is no ASCII, too
        raise Refusal(
            _("bytes_value is not valid base64. Encode the value, or give it as string_value."),
            field="bytes_value",
        ) from None
