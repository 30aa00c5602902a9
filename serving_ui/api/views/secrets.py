"""Secret scopes, their keys, and who has which right on them."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from django.utils.translation import gettext
from pydantic import Field
from typing_extensions import TypedDict

from serving_ui.accounts import queries as accounts
from serving_ui.accounts.models import Group, User
from serving_ui.api import paging
from serving_ui.api.answers import Empty, Milliseconds, NextPage
from serving_ui.api.operation import PAGE_PARAMETERS, Parameter
from serving_ui.api.request import ApiRequest
from serving_ui.api.routing import Router
from serving_ui.api.serializers import milliseconds
from serving_ui.catalogue.api_model import ApiModel
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import takeover
from serving_ui.lib import clock
from serving_ui.lib.refusal import NotFound, Refusal
from serving_ui.vault import ciphers, commands, queries
from serving_ui.vault.commands import Grantee
from serving_ui.vault.rights import Right

router = Router("Secrets")
RightName = Literal["READ", "WRITE", "MANAGE"]
ScopeName = Annotated[str, Field(description="Name of the scope.")]
KeyName = Annotated[str, Field(description="Name of the key.")]
PrincipalName = Annotated[str, Field(description="E-mail of a person, or name of a group.")]
SCOPE = Parameter(name="scope", description=_("Name of the scope."), required=True)
KEY = Parameter(name="key", description=_("Name of the key."), required=True)
PRINCIPAL = Parameter(
    name="principal", description=_("E-mail of a person, or name of a group."), required=True
)


class ScopeReference(ApiModel):
    scope: ScopeName


class KeyReference(ScopeReference):
    key: KeyName


class NewScope(ScopeReference):
    initial_manage_principal: Annotated[
        str | None, Field(description="A person or group that may manage it, beside you.")
    ] = None
    scope_backend_type: Literal["DATABRICKS"] = "DATABRICKS"


class NewSecret(KeyReference):
    """The value is either text, or bytes in base64."""

    string_value: Annotated[str | None, Field(description="The value; or give bytes_value.")] = None
    bytes_value: Annotated[str | None, Field(description="The value in base64.")] = None


class AclReference(ScopeReference):
    principal: PrincipalName


class NewAcl(AclReference):
    permission: Annotated[
        RightName,
        Field(description="READ: use and read. WRITE: put and delete as well. MANAGE: give rights as well."),
    ]


class Scope(TypedDict):
    name: str
    backend_type: Literal["DATABRICKS"]


class ScopeList(NextPage):
    scopes: Annotated[list[Scope], Field(description="Those that you may read.")]


class SecretMetadata(TypedDict):
    key: str
    last_updated_timestamp: Milliseconds


class SecretList(NextPage):
    secrets: Annotated[list[SecretMetadata], Field(description="Keys only; values are never listed.")]


class SecretValue(TypedDict):
    key: str
    value: Annotated[str, Field(description="Base64.")]


class AclItem(TypedDict):
    principal: str
    permission: RightName


class AclList(TypedDict):
    items: Annotated[list[AclItem], Field(description="The creator first.")]


class Takeover(TypedDict):
    endpoint: str
    secret: Annotated[
        str, Field(description="The reference.", examples=["{{secrets/my_scope/my_openai_api_key}}"])
    ]
    authorised_by: Annotated[str, Field(description="Who gave it and is deactivated.")]


class TakeoverList(NextPage):
    takeovers: list[Takeover]


@router.post(
    "secrets/scopes/create",
    summary=_("Create a secret scope"),
    refusals=(403, 404),
    example={"scope": "my_scope"},
    sdk="secrets.create_scope",
)
def create_scope(request: ApiRequest, body: NewScope) -> Empty:
    manager = _grantee(body.initial_manage_principal) if body.initial_manage_principal else None
    commands.create_scope(name=body.scope, manager=manager, actor=request.user, now=clock.now())
    return {}


@router.post(
    "secrets/scopes/delete",
    summary=_("Delete a secret scope"),
    description=_("With every key in it."),
    refusals=(403, 404),
    example={"scope": "my_scope"},
    sdk="secrets.delete_scope",
)
def delete_scope(request: ApiRequest, body: ScopeReference) -> Empty:
    commands.delete_scope(name=body.scope, actor=request.user, now=clock.now())
    return {}


@router.get(
    "secrets/scopes/list",
    summary=_("List secret scopes"),
    query=PAGE_PARAMETERS,
    sdk="secrets.list_scopes",
)
def list_scopes(request: ApiRequest) -> ScopeList:
    rows = queries.scopes(actor=request.user).prefetch_related(None)
    found, more = paging.page_or_all(request, rows, order=("name",), key=lambda row: (row.name,))
    return {"scopes": [{"name": scope.name, "backend_type": "DATABRICKS"} for scope in found], **more}


@router.post(
    "secrets/put",
    summary=_("Put a secret"),
    description=_("Makes the key, or replaces its value; endpoints that name it follow."),
    refusals=(403, 404),
    example={"scope": "my_scope", "key": "my_openai_api_key", "string_value": "<the secret>"},
    sdk="secrets.put_secret",
)
def put_secret(request: ApiRequest, body: NewSecret) -> Empty:
    commands.put_secret(
        scope=body.scope, key=body.key, value=_value(body), actor=request.user, now=clock.now()
    )
    return {}


@router.post(
    "secrets/delete",
    summary=_("Delete a secret"),
    refusals=(403, 404),
    example={"scope": "my_scope", "key": "my_openai_api_key"},
    sdk="secrets.delete_secret",
)
def delete_secret(request: ApiRequest, body: KeyReference) -> Empty:
    commands.delete_secret(scope=body.scope, key=body.key, actor=request.user, now=clock.now())
    return {}


@router.get(
    "secrets/list",
    summary=_("List the keys of a scope"),
    query=(SCOPE, *PAGE_PARAMETERS),
    refusals=(403, 404),
    sdk="secrets.list_secrets",
)
def list_secrets(request: ApiRequest) -> SecretList:
    scope = queries.readable_scope(name=request.GET["scope"], actor=request.user)
    found, more = paging.page_or_all(
        request, queries.keys(scope=scope), order=("key",), key=lambda row: (row.key,), filters=f"{scope.pk}"
    )
    secrets: list[SecretMetadata] = [
        {"key": secret.key, "last_updated_timestamp": milliseconds(secret.updated_at)} for secret in found
    ]
    return {"secrets": secrets, **more}


@router.get(
    "secrets/get",
    summary=_("Get a secret"),
    query=(SCOPE, KEY),
    refusals=(403, 404),
    sdk="secrets.get_secret",
)
def get_secret(request: ApiRequest) -> SecretValue:
    scope, key = request.GET["scope"], request.GET["key"]
    try:
        value = queries.value_of(scope=scope, key=key, actor=request.user)
    except ciphers.CannotDecrypt as error:
        message = gettext(
            "The value cannot be decrypted: %(reason)s. Restore the vault's key, or put the value again."
        )
        raise Refusal(message % {"reason": error}, code="INVALID_STATE") from None
    return {"key": key, "value": base64.b64encode(value).decode()}


@router.post(
    "secrets/acls/put",
    summary=_("Give a right on a scope"),
    refusals=(403, 404),
    example={"scope": "my_scope", "principal": "teammate@example.com", "permission": "READ"},
    sdk="secrets.put_acl",
)
def put_acl(request: ApiRequest, body: NewAcl) -> Empty:
    queries.usable_scope(name=body.scope, actor=request.user, right=Right.MANAGE)
    commands.grant(
        scope=body.scope,
        to=_grantee(body.principal),
        right=Right[body.permission],
        actor=request.user,
        now=clock.now(),
    )
    return {}


@router.post(
    "secrets/acls/delete",
    summary=_("Take a right on a scope"),
    refusals=(403, 404),
    example={"scope": "my_scope", "principal": "teammate@example.com"},
    sdk="secrets.delete_acl",
)
def delete_acl(request: ApiRequest, body: AclReference) -> Empty:
    queries.usable_scope(name=body.scope, actor=request.user, right=Right.MANAGE)
    commands.withdraw(scope=body.scope, grantee=_grantee(body.principal), actor=request.user, now=clock.now())
    return {}


@router.get(
    "secrets/acls/list",
    summary=_("List the rights on a scope"),
    query=(SCOPE,),
    refusals=(403, 404),
    sdk="secrets.list_acls",
)
def list_acls(request: ApiRequest) -> AclList:
    found = _acls(request, request.GET["scope"])
    return {"items": [_acl(principal, right) for principal, right in found.items()]}


@router.get(
    "secrets/acls/get",
    summary=_("Get someone's right on a scope"),
    query=(SCOPE, PRINCIPAL),
    refusals=(403, 404),
    sdk="secrets.get_acl",
)
def get_acl(request: ApiRequest) -> AclItem:
    scope, name = request.GET["scope"], request.GET["principal"]
    for principal, right in _acls(request, scope).items():
        if principal.lower() == name.strip().lower():
            return _acl(principal, right)
    message = gettext("%(principal)s was given no right on secret scope %(scope)s.")
    raise NotFound(message % {"principal": name, "scope": scope}, field="principal")


@router.get(
    "secrets/takeovers/list",
    summary=_("List what waits to be taken over"),
    description=_(
        "Secrets of endpoints that you manage which are sent on the right of somebody who is deactivated: as they were then, following no new value."
    ),
    query=PAGE_PARAMETERS,
    is_addition=True,
)
def list_takeovers(request: ApiRequest) -> TakeoverList:
    rows, more = paging.page_or_all(
        request,
        takeover.pending_takeovers(actor=request.user),
        order=("pk",),
        key=lambda row: (row.pk,),
    )
    takeovers: list[Takeover] = [
        {
            "endpoint": row.version.endpoint.name,
            "secret": row.reference,
            "authorised_by": row.authoriser.email,
        }
        for row in rows
    ]
    return {"takeovers": takeovers, **more}


def _acls(request: ApiRequest, scope: str) -> dict[str, Right]:
    """Right by name of the principal, the creator first. Raises Refusal unless the caller may manage the scope."""
    row = queries.usable_scope(name=scope, actor=request.user, right=Right.MANAGE)
    grants = queries.grants(scope=scope, actor=request.user)
    return {
        row.creator.email: Right.MANAGE,
        **{str(grant.user or grant.group): Right(grant.right) for grant in grants},
    }


def _acl(principal: str, right: Right) -> AclItem:
    name: RightName = right.name  # type: ignore[assignment]  # the names of the enumeration are those of the API
    return {"principal": principal, "permission": name}


def _grantee(name: str) -> Grantee:
    found = accounts.find_principal(name=name)
    if isinstance(found, User):
        return Grantee(found.email, user_id=found.pk)
    if isinstance(found, Group):
        return Grantee(found.name, group_id=found.pk)
    message = gettext("There is no person, group or service principal named %(name)s here.")
    raise NotFound(message % {"name": name})


def _value(body: NewSecret) -> str:
    if (body.string_value is None) == (body.bytes_value is None):
        raise Refusal(gettext("Give either string_value, or bytes_value in base64."), field="string_value")
    if body.bytes_value is None:
        return body.string_value or ""
    try:
        return ciphers.as_text(base64.b64decode(body.bytes_value, validate=True))
    except ValueError:  # not base64, or not ASCII
        raise Refusal(
            gettext("bytes_value is not valid base64. Encode the value, or give it as string_value."),
            field="bytes_value",
        ) from None
