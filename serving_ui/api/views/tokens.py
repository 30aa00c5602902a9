"""Access tokens: everyone's own, and for admins everybody's."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from django.db.models import QuerySet
from django.utils.translation import gettext
from pydantic import Field, StrictInt
from typing_extensions import TypedDict

from serving_ui.accounts import tokens
from serving_ui.accounts.commands import create_access_token, revoke_access_token
from serving_ui.accounts.models import AccessToken
from serving_ui.api import paging
from serving_ui.api.answers import Empty, Milliseconds, NextPage
from serving_ui.api.operation import PAGE_PARAMETERS, Parameter
from serving_ui.api.request import ApiRequest, read_body
from serving_ui.api.routing import Router
from serving_ui.api.serializers import milliseconds
from serving_ui.catalogue.api_model import ApiModel
from serving_ui.catalogue.translatable import _
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal

router = Router("Tokens")
MANAGED = "token-management/tokens"
NEW_COMMENT = {"token": {"comment": "for the weekly job"}, "update_mask": "comment"}
MAX_COMMENT_LENGTH = 200
MAX_LIFETIME_SECONDS = 10 * 365 * 24 * 3600
NO_EXPIRY = -1
DIGITS = 15  # of an id in hexadecimal: 60 bits
MAX_DECIMAL_DIGITS = 19
REFUSED = "Refused: a token may do whatever its owner may."
Comment = Annotated[str, Field(max_length=MAX_COMMENT_LENGTH)]


class TokenLimits(ApiModel):
    """Fields that would limit a token. They are refused, because ignoring them would grant more than was asked for."""

    scopes: Annotated[list[Any], Field(max_length=1000, description=REFUSED)] = Field(default_factory=list)
    autoscope_enabled: Annotated[bool, Field(description=REFUSED)] = False


class NewToken(TokenLimits):
    comment: Annotated[Comment, Field(description="What it is for.")] = ""
    lifetime_seconds: Annotated[
        Annotated[StrictInt, Field(ge=1, le=MAX_LIFETIME_SECONDS)] | None,
        Field(description="Left out: it works until it is revoked."),
    ] = None


class TokenOnBehalf(NewToken):
    application_id: str


class TokenReference(ApiModel):
    token_id: Annotated[str, Field(description="Its id, not its value.")]


class NewComment(TokenLimits):
    comment: Comment | None = None


class TokenChange(ApiModel):
    token: Annotated[NewComment, Field(description="What is changed.")]
    update_mask: Annotated[str, Field(description="comment, or left out.")] = ""


class TokenInfo(TypedDict):
    token_id: str
    comment: str
    creation_time: Milliseconds
    expiry_time: Annotated[int, Field(description="Milliseconds since 1970; -1 if it never expires.")]


class ManagedToken(TokenInfo):
    owner_id: int
    created_by_id: int
    created_by_username: str


TokenValue = Annotated[str, Field(description="Shown only this once.")]


class TokenMade(TypedDict):
    token_value: TokenValue
    token_info: TokenInfo


class TokenList(NextPage):
    token_infos: list[TokenInfo]


class ManagedTokenMade(TypedDict):
    token_value: TokenValue
    token_info: ManagedToken


class ManagedTokenList(NextPage):
    token_infos: list[ManagedToken]


class OneManagedToken(TypedDict):
    token_info: ManagedToken


@router.post(
    "token/create",
    summary=_("Create an access token"),
    description=_("For yourself. Its value is in this answer and nowhere else."),
    body_required=False,
    refusals=(403,),
    example={"comment": "for the nightly job", "lifetime_seconds": 2592000},
    sdk="tokens.create",
)
def create_token(request: ApiRequest, body: NewToken) -> TokenMade:
    _refuse_limits(body)
    token, value = create_access_token(
        user=request.user, comment=body.comment, lifetime=_lifetime(body), now=clock.now()
    )
    return {"token_value": value, "token_info": _info(token)}


@router.get("token/list", summary=_("List your access tokens"), query=PAGE_PARAMETERS, sdk="tokens.list")
def list_tokens(request: ApiRequest) -> TokenList:
    found, more = _paged(request, tokens.usable(user=request.user, now=clock.now()))
    return {"token_infos": [_info(token) for token in found], **more}


@router.post(
    "token/delete",
    summary=_("Revoke one of your access tokens"),
    refusals=(404,),
    example={"token_id": "69962db6b9db47c4a8a222d2ac79d7f8"},
    sdk="tokens.delete",
)
def delete_token(request: ApiRequest, body: TokenReference) -> Empty:
    token = tokens.own(token_id=body.token_id, user=request.user)
    revoke_access_token(user=request.user, token_id=token.pk, actor=request.user)
    return {}


@router.patch(
    "token/{id}",
    summary=_("Change the comment of an access token"),
    refusals=(404,),
    body=TokenChange,
    example=NEW_COMMENT,
)
def update_token(request: ApiRequest, id: str) -> Empty:
    _change_comment(request, tokens.own(token_id=id, user=request.user))
    return {}


@router.get(
    MANAGED,
    summary=_("List everyone's access tokens"),
    query=(
        Parameter(name="created_by_username", description=_("E-mail.")),
        Parameter(name="created_by_id", description=_("Id of a person.")),
        *PAGE_PARAMETERS,
    ),
    refusals=(403,),
    sdk="token_management.list",
    for_admins=True,
)
def list_managed_tokens(request: ApiRequest) -> ManagedTokenList:
    name, number = (request.GET.get(f"created_by_{each}", "") for each in ("username", "id"))
    rows = tokens.managed(
        actor=request.user, created_by_username=name, created_by_id=_id_prefix(number), now=clock.now()
    )
    found, more = _paged(request, rows, filters=f"{name} {number}")
    return {"token_infos": [_managed(token) for token in found], **more}


@router.get(
    f"{MANAGED}/{{id}}",
    summary=_("Get anyone's access token"),
    description=_("Everything about the token but its value."),
    refusals=(403, 404),
    sdk="token_management.get",
    for_admins=True,
)
def get_managed_token(request: ApiRequest, id: str) -> OneManagedToken:
    return {"token_info": _managed(tokens.managed_one(token_id=id, actor=request.user))}


@router.patch(
    f"{MANAGED}/{{id}}",
    summary=_("Change the comment of anyone's access token"),
    body=TokenChange,
    refusals=(403, 404),
    example=NEW_COMMENT,
    for_admins=True,
)
def update_managed_token(request: ApiRequest, id: str) -> ManagedToken:
    return _managed(_change_comment(request, tokens.managed_one(token_id=id, actor=request.user)))


@router.delete(
    f"{MANAGED}/{{id}}",
    summary=_("Revoke anyone's access token"),
    refusals=(403, 404),
    sdk="token_management.delete",
    for_admins=True,
)
def delete_managed_token(request: ApiRequest, id: str) -> Empty:
    token = tokens.managed_one(token_id=id, actor=request.user)
    revoke_access_token(user=token.user, token_id=token.pk, actor=request.user)
    return {}


@router.post(
    "token-management/on-behalf-of/tokens",
    summary=_("Create an access token for a service principal"),
    refusals=(403, 404),
    example={
        "application_id": "1b2c3d4e-5f60-4718-a293-a4b5c6d7e8f9",
        "comment": "for the nightly job",
    },
    sdk="token_management.create_obo_token",
    for_admins=True,
)
def create_token_on_behalf(request: ApiRequest, body: TokenOnBehalf) -> ManagedTokenMade:
    _refuse_limits(body)
    token, value = tokens.create_on_behalf_of(
        application_id=body.application_id,
        comment=body.comment,
        lifetime=_lifetime(body),
        actor=request.user,
        now=clock.now(),
    )
    return {"token_value": value, "token_info": _managed(token)}


def _paged(
    request: ApiRequest, rows: QuerySet[AccessToken], filters: str = ""
) -> tuple[list[AccessToken], NextPage]:
    order = ("-created_at", "-pk")
    return paging.page_or_all(
        request, rows, order=order, key=lambda row: (row.created_at, row.pk), filters=filters
    )


def _refuse_limits(body: TokenLimits) -> None:
    if body.scopes or body.autoscope_enabled:
        raise Refusal(
            gettext("A token here may do whatever its owner may do. Leave scopes and autoscope_enabled out.")
        )


def _lifetime(body: NewToken) -> timedelta | None:
    return timedelta(seconds=body.lifetime_seconds) if body.lifetime_seconds else None


def _change_comment(request: ApiRequest, token: AccessToken) -> AccessToken:
    """Reads the body after the permission check, so that 403 and 404 come before 400."""
    change = read_body(TokenChange, request.json)
    _refuse_limits(change.token)
    other_fields = {field.strip() for field in change.update_mask.split(",")} - {"", "*", "comment"}
    if other_fields:
        raise Refusal(
            gettext("update_mask names %(field)s, which cannot be changed. Only comment can.")
            % {"field": sorted(other_fields)[0]}
        )
    if change.token.comment is None and change.update_mask == "":
        return token
    return tokens.comment_on(token=token, comment=change.token.comment or "", actor=request.user)


def _info(token: AccessToken) -> TokenInfo:
    return {
        "token_id": token.pk,
        "comment": token.comment,
        "creation_time": milliseconds(token.created_at),
        "expiry_time": milliseconds(token.expires_at) if token.expires_at else NO_EXPIRY,
    }


def _managed(token: AccessToken) -> ManagedToken:
    maker = token.created_by or token.user
    return {
        **_info(token),
        "owner_id": _as_number(token.user_id),
        "created_by_id": _as_number(maker.pk),
        "created_by_username": maker.email,
    }


def _as_number(principal: str) -> int:
    """The first 60 bits of a principal's id: clients read it as a 64-bit integer. SCIM has the whole id."""
    return int(principal[:DIGITS], 16)


def _id_prefix(value: str) -> str:
    """The first digits of a principal's id, from that integer or from the id itself."""
    is_number = value.isascii() and value.isdigit() and len(value) <= MAX_DECIMAL_DIGITS
    return f"{int(value):0{DIGITS}x}" if is_number else value
