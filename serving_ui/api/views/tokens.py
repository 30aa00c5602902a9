"""Access tokens: everyone's own, and for admins everybody's."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, TypeVar

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from pydantic import Field, StrictInt

from serving_ui.accounts import tokens
from serving_ui.accounts.commands import create_access_token, revoke_access_token
from serving_ui.accounts.models import AccessToken
from serving_ui.api import paging
from serving_ui.api.http import ApiRequest, Json
from serving_ui.api.request_body import read_body
from serving_ui.api.response_warnings import warn_of_unknown_fields
from serving_ui.api.serializers import milliseconds
from serving_ui.catalogue import unknown
from serving_ui.catalogue.endpoint_config import ApiModel
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal

LONGEST_COMMENT = 200
TEN_YEARS = 10 * 365 * 24 * 3600
NEVER = -1
DIGITS = 15  # of an id in hexadecimal: 60 bits
LONGEST_NUMBER = 19
Comment = Annotated[str, Field(max_length=LONGEST_COMMENT)]


class Narrowed(ApiModel):
    """What would make a token that may do less. It is refused: to ignore it would give more than was asked for."""

    scopes: Annotated[list[Any], Field(max_length=1000)] = Field(default_factory=list)
    autoscope_enabled: bool = False


class NewToken(Narrowed):
    """Left out, `lifetime_seconds` makes a token that works until it is revoked."""

    comment: Comment = ""
    lifetime_seconds: Annotated[StrictInt, Field(ge=1, le=TEN_YEARS)] | None = None


class TokenOnBehalf(NewToken):
    application_id: str


Wanted = TypeVar("Wanted", bound=NewToken)


class OfToken(ApiModel):
    token_id: str


class NewComment(Narrowed):
    comment: Comment | None = None


class TokenChange(ApiModel):
    token: NewComment
    update_mask: str = ""


def create(request: ApiRequest) -> Json:
    """POST token/create: for oneself. The value is in this answer and nowhere else."""
    wanted = _read_new(NewToken, request)
    token, value = create_access_token(
        user=request.user, comment=wanted.comment, lifetime=_lifetime(wanted), now=clock.now()
    )
    return {"token_value": value, "token_info": _info(token)}


def listing(request: ApiRequest) -> Json:
    """GET token/list."""
    found, more = _paged(request, tokens.usable(user=request.user, now=clock.now()))
    return {"token_infos": [_info(token) for token in found], **more}


def delete(request: ApiRequest) -> Json:
    """POST token/delete: one of one's own."""
    token = tokens.own(token_id=read_body(OfToken, request.json).token_id, user=request.user)
    revoke_access_token(user=request.user, token_id=token.pk, now=clock.now())
    return {}


def update(request: ApiRequest, token_id: str) -> Json:
    """PATCH token/{id}: the comment of one's own."""
    _comment(request, tokens.own(token_id=token_id, user=request.user))
    return {}


def managed(request: ApiRequest) -> Json:
    """GET token-management/tokens: everybody's."""
    name, number = (request.GET.get(f"created_by_{each}", "") for each in ("username", "id"))
    rows = tokens.managed(
        actor=request.user, created_by_username=name, created_by_id=_id_start(number), now=clock.now()
    )
    found, more = _paged(request, rows, of=f"{name} {number}")
    return {"token_infos": [_managed(token) for token in found], **more}


def managed_one(request: ApiRequest, token_id: str) -> Json:
    """GET token-management/tokens/{id}."""
    return {"token_info": _managed(tokens.managed_one(token_id=token_id, actor=request.user))}


def update_managed(request: ApiRequest, token_id: str) -> Json:
    """PATCH token-management/tokens/{id}: the comment of anybody's."""
    return _managed(_comment(request, tokens.managed_one(token_id=token_id, actor=request.user)))


def delete_managed(request: ApiRequest, token_id: str) -> Json:
    """DELETE token-management/tokens/{id}."""
    token = tokens.managed_one(token_id=token_id, actor=request.user)
    revoke_access_token(user=token.user, token_id=token.pk, now=clock.now())
    return {}


def create_on_behalf_of(request: ApiRequest) -> Json:
    """POST token-management/on-behalf-of/tokens: for a service principal."""
    wanted = _read_new(TokenOnBehalf, request)
    token, value = tokens.create_on_behalf_of(
        application_id=wanted.application_id,
        comment=wanted.comment,
        lifetime=_lifetime(wanted),
        actor=request.user,
        now=clock.now(),
    )
    return {"token_value": value, "token_info": _managed(token)}


def _paged(request: ApiRequest, rows: QuerySet[AccessToken], of: str = "") -> tuple[list[AccessToken], Json]:
    order = ("-created_at", "-pk")
    return paging.page_or_all(request, rows, order=order, key=lambda row: (row.created_at, row.pk), of=of)


def _read_new(model: type[Wanted], request: ApiRequest) -> Wanted:
    wanted = read_body(model, request.json)
    _refuse_narrowed(wanted)
    warn_of_unknown_fields(request, unknown.in_model(model, request.json))
    return wanted


def _refuse_narrowed(wanted: Narrowed) -> None:
    if wanted.scopes or wanted.autoscope_enabled:
        raise Refusal(
            _("A token here may do whatever its owner may do. Leave scopes and autoscope_enabled out.")
        )


def _lifetime(wanted: NewToken) -> timedelta | None:
    return timedelta(seconds=wanted.lifetime_seconds) if wanted.lifetime_seconds else None


def _comment(request: ApiRequest, token: AccessToken) -> AccessToken:
    change = read_body(TokenChange, request.json)
    _refuse_narrowed(change.token)
    others = {field.strip() for field in change.update_mask.split(",")} - {"", "*", "comment"}
    if others:
        raise Refusal(
            _("update_mask names %(field)s, which cannot be changed. Only comment can.")
            % {"field": sorted(others)[0]}
        )
    if change.token.comment is None and change.update_mask == "":
        return token
    return tokens.comment_on(token=token, comment=change.token.comment or "")


def _info(token: AccessToken) -> Json:
    return {
        "token_id": token.pk,
        "comment": token.comment,
        "creation_time": milliseconds(token.created_at),
        "expiry_time": milliseconds(token.expires_at) if token.expires_at else NEVER,
    }


def _managed(token: AccessToken) -> Json:
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
