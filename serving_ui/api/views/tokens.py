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
from serving_ui.catalogue.endpoint_config import ApiModel
from serving_ui.catalogue.translatable import _
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal

router = Router("Tokens")
MANAGED = "token-management/tokens"
NEW_COMMENT = {"token": {"comment": "for the weekly job"}, "update_mask": "comment"}
LONGEST_COMMENT = 200
TEN_YEARS = 10 * 365 * 24 * 3600
NEVER = -1
DIGITS = 15  # of an id in hexadecimal: 60 bits
LONGEST_NUMBER = 19
REFUSED = "Refused: a token may do whatever its owner may."
Comment = Annotated[str, Field(max_length=LONGEST_COMMENT)]


class Narrowed(ApiModel):
    """What would make a token that may do less. It is refused: to ignore it would give more than was asked for."""

    scopes: Annotated[list[Any], Field(max_length=1000, description=REFUSED)] = Field(default_factory=list)
    autoscope_enabled: Annotated[bool, Field(description=REFUSED)] = False


class NewToken(Narrowed):
    comment: Annotated[Comment, Field(description="What it is for.")] = ""
    lifetime_seconds: Annotated[
        Annotated[StrictInt, Field(ge=1, le=TEN_YEARS)] | None,
        Field(description="Left out: it works until it is revoked."),
    ] = None


class TokenOnBehalf(NewToken):
    application_id: str


class TokenReference(ApiModel):
    token_id: Annotated[str, Field(description="Its id, not its value.")]


class NewComment(Narrowed):
    comment: Comment | None = None


class TokenChange(ApiModel):
    token: Annotated[NewComment, Field(description="What is changed.")]
    update_mask: Annotated[str, Field(description="comment, or left out.")] = ""


class TokenInfo(TypedDict):
    token_id: str
    comment: str
    creation_time: Milliseconds
    expiry_time: Annotated[int, Field(description="Milliseconds since 1970; -1 when it does not end.")]


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
def create_token(request: ApiRequest, wanted: NewToken) -> TokenMade:
    _refuse_narrowed(wanted)
    token, value = create_access_token(
        user=request.user, comment=wanted.comment, lifetime=_lifetime(wanted), now=clock.now()
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
def delete_token(request: ApiRequest, wanted: TokenReference) -> Empty:
    token = tokens.own(token_id=wanted.token_id, user=request.user)
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
    _comment(request, tokens.own(token_id=id, user=request.user))
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
        actor=request.user, created_by_username=name, created_by_id=_id_start(number), now=clock.now()
    )
    found, more = _paged(request, rows, filters=f"{name} {number}")
    return {"token_infos": [_managed(token) for token in found], **more}


@router.get(
    f"{MANAGED}/{{id}}",
    summary=_("Get anyone's access token"),
    description=_("What is known of it; its value is not."),
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
    return _managed(_comment(request, tokens.managed_one(token_id=id, actor=request.user)))


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
def create_token_on_behalf(request: ApiRequest, wanted: TokenOnBehalf) -> ManagedTokenMade:
    _refuse_narrowed(wanted)
    token, value = tokens.create_on_behalf_of(
        application_id=wanted.application_id,
        comment=wanted.comment,
        lifetime=_lifetime(wanted),
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


def _refuse_narrowed(wanted: Narrowed) -> None:
    if wanted.scopes or wanted.autoscope_enabled:
        raise Refusal(
            gettext("A token here may do whatever its owner may do. Leave scopes and autoscope_enabled out.")
        )


def _lifetime(wanted: NewToken) -> timedelta | None:
    return timedelta(seconds=wanted.lifetime_seconds) if wanted.lifetime_seconds else None


def _comment(request: ApiRequest, token: AccessToken) -> AccessToken:
    """Reads the body only here: whoever may not change the token is told so first."""
    change = read_body(TokenChange, request.json)
    _refuse_narrowed(change.token)
    others = {field.strip() for field in change.update_mask.split(",")} - {"", "*", "comment"}
    if others:
        raise Refusal(
            gettext("update_mask names %(field)s, which cannot be changed. Only comment can.")
            % {"field": sorted(others)[0]}
        )
    if change.token.comment is None and change.update_mask == "":
        return token
    return tokens.comment_on(token=token, comment=change.token.comment or "", actor=request.user)


def _info(token: AccessToken) -> TokenInfo:
    return {
        "token_id": token.pk,
        "comment": token.comment,
        "creation_time": milliseconds(token.created_at),
        "expiry_time": milliseconds(token.expires_at) if token.expires_at else NEVER,
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
    """Clients read these two ids as 64-bit integers, so they get the first 60 bits; the whole id is in SCIM."""
    return int(principal[:DIGITS], 16)


def _id_start(asked: str) -> str:
    """How the id of a principal begins that is given as such a number, or as itself."""
    is_number = asked.isascii() and asked.isdigit() and len(asked) <= LONGEST_NUMBER
    return f"{int(asked):0{DIGITS}x}" if is_number else asked
