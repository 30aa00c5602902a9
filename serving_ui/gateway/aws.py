"""What Amazon's services want of a sender: signed requests, keys of the machine's own instance profile, and streams cut into events.

Only loaded when such an endpoint is asked: the signer of botocore takes 5.7 MB and 35 ms once, then 50 us a request and 6 us an event.
Vendor facts as of November 2026, docs.aws.amazon.com: "AWS Signature Version 4", "Amazon Transcribe: event stream encoding" (the same for
all services) and "Use IMDSv2". The metadata service is the one address that the outbound policy never allows; here it is asked all the
same, because only this machine's own keys come from it and no endpoint's config can say where it is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil
from time import monotonic
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.eventstream import EventStreamBuffer, ParserError
from botocore.exceptions import BotoCoreError
from botocore.utils import InstanceMetadataFetcher
from pydantic_core import from_json, to_json

from serving_ui.catalogue.upstream import AwsInstanceProfile, AwsSigV4, UpstreamRequest
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.sse import TooLong

_log = logging.getLogger("serving_ui.gateway")
_MOST = 8 * 1024 * 1024
_PRELUDE = 12
_METADATA_SECONDS = 2
_TRY_AGAIN_AFTER = 10.0
_EARLY = 900.0

_NO_PROFILE = (
    "The endpoint uses an instance profile, but this machine has none. The person who manages the endpoint "
    "must give access keys, or the gateway must run on an EC2 instance that has the profile."
)
_OTHER_PROFILE = (
    "The endpoint uses the instance profile {wanted}, but this machine has {found}. "
    "The person who manages the endpoint must give the one that the machine has, or access keys."
)
_NOT_RENEWED = "AWS does not renew the keys of this machine's instance profile. Try again."


def signed(request: UpstreamRequest) -> UpstreamRequest:
    """The request with its signature. Its `auth` must be AwsSigV4."""
    auth = request.auth
    if not isinstance(auth, AwsSigV4):
        raise ValueError("Only a request with access keys can be signed.")
    keys = ReadOnlyCredentials(auth.access_key_id.reveal(), auth.secret_access_key.reveal(), None)
    return _signed(request, keys, auth.service, auth.region)


def _signed(request: UpstreamRequest, keys: Any, service: str, region: str) -> UpstreamRequest:
    drawn = AWSRequest(request.method, request.url, headers=dict(request.headers), data=request.body or b"")
    SigV4Auth(keys, service, region).add_auth(drawn)
    return replace(request, headers=tuple(drawn.headers.items()))


def signed_now(request: UpstreamRequest) -> UpstreamRequest:
    """The same, also with the keys of this machine, which are asked for each time. Blocks; raises GatewayError."""
    auth = request.auth
    if not isinstance(auth, AwsInstanceProfile):
        return signed(request)
    keys = _usable(_told(monotonic), auth.arn, monotonic())
    return _signed(request, keys, auth.service, auth.region)


class Signer:
    """Signs what this process sends, and keeps the keys of the machine."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._machine = _Machine(clock)

    async def signed(self, request: UpstreamRequest) -> UpstreamRequest:
        """The request with its signature. Raises GatewayError when the machine has no such keys."""
        auth = request.auth
        if isinstance(auth, AwsInstanceProfile):
            return _signed(request, await self._machine.keys(auth.arn), auth.service, auth.region)
        return signed(request)


@dataclass(frozen=True, slots=True)
class _Held:
    """Keys and the profile that they belong to. `renew_at` and `ends_at` are the clock's."""

    keys: Any = field(repr=False)
    profile: str
    renew_at: float
    ends_at: float


class _Machine:
    """The keys of this machine's instance profile: asked for once, renewed early.

    While they are valid nobody waits for their renewal, and a metadata service that gives none is not asked for each query.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: _Held | None = None
        self._asking: asyncio.Task[None] | None = None
        self._silent_until = clock()

    async def keys(self, arn: str) -> Any:
        """Keys that are valid now. Raises GatewayError."""
        now = self._clock()
        held = self._held
        fits = held is not None and held.ends_at > now and held.profile == arn
        if self._silent_until <= now and (held is None or not fits or held.renew_at <= now):
            if self._asking is None:
                self._asking = asyncio.get_running_loop().create_task(self._ask())
            if not fits:
                await asyncio.shield(self._asking)
                held = self._held
        return _usable(held, arn, now)

    async def _ask(self) -> None:
        try:
            self._held = await asyncio.to_thread(_told, self._clock) or self._held
        finally:
            self._silent_until = self._clock() + _TRY_AGAIN_AFTER
            self._asking = None


def _usable(held: _Held | None, arn: str, now: float) -> Any:
    """The keys, if they are valid and of the profile that is wanted. Raises GatewayError."""
    if held is None:
        raise GatewayError(400, _NO_PROFILE)
    if held.ends_at <= now:
        raise GatewayError(503, _NOT_RENEWED, retry_after=ceil(_TRY_AGAIN_AFTER))
    if held.profile != arn:
        raise GatewayError(400, _OTHER_PROFILE.format(wanted=arn, found=held.profile or "another one"))
    return held.keys


def _told(clock: Callable[[], float]) -> _Held | None:
    """What the metadata service gives, or nothing. Blocks."""
    try:
        return _ask_metadata(clock)
    except (BotoCoreError, LookupError, TypeError, ValueError) as problem:
        _log.warning("The metadata service of this machine gives no keys: %s", problem)
        return None


def _ask_metadata(clock: Callable[[], float]) -> _Held:
    """The machine's keys. Blocks; raises LookupError when it has none, BotoCoreError or ValueError."""
    metadata = _Metadata()
    found: dict[str, str] = metadata.retrieve_iam_role_credentials()
    keys = ReadOnlyCredentials(found["access_key"], found["secret_key"], found["token"])
    seconds = (datetime.fromisoformat(found["expiry_time"]) - datetime.now(UTC)).total_seconds()
    now = clock()
    return _Held(keys, metadata.profile(), now + max(seconds - _EARLY, seconds / 2), now + seconds)


class _Metadata(InstanceMetadataFetcher):  # type: ignore[misc] # botocore has no types
    """The metadata service, where AWS's own variables say that it is."""

    def __init__(self) -> None:
        names = {
            "ec2_metadata_service_endpoint": "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "ec2_metadata_service_endpoint_mode": "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        }
        given = {name: os.environ.get(variable) for name, variable in names.items()}
        super().__init__(timeout=_METADATA_SECONDS, num_attempts=1, config=given)

    def profile(self) -> str:
        """Empty when the service does not say."""
        try:
            token = self._fetch_metadata_token()
            told = self._get_request("latest/meta-data/iam/info", self._needs_retry_for_credentials, token)
            return str(from_json(told.text)["InstanceProfileArn"])
        except (self._RETRIES_EXCEEDED_ERROR_CLS, LookupError, TypeError):
            return ""


class FrameSplitter:
    """Feed it what arrives of an event stream; it gives back the name and the data of each event that has become whole."""

    __slots__ = ("_damaged", "_need", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._need = _PRELUDE
        self._damaged: ValueError | None = None

    def feed(self, portion: bytes) -> list[tuple[bytes, bytes]]:
        """Raises ValueError for what is no frame, once the events before it have been given back."""
        self._parts.append(portion)
        self._size += len(portion)
        if self._size < self._need and self._damaged is None:
            return []
        content, begin = b"".join(self._parts), 0
        events: list[tuple[bytes, bytes]] = []
        try:
            while (end := begin + _length(content, begin)) <= len(content):
                events.append(_event(content[begin:end]))
                begin = end
            self._need = end - begin
        except ValueError as problem:
            self._damaged = problem
            if not events:
                raise
        self._parts, self._size = [content[begin:]], len(content) - begin
        return events

    def finish(self) -> list[tuple[bytes, bytes]]:
        """At the end. The beginning of a frame is worth nothing."""
        if self._damaged is not None:
            raise self._damaged
        return []


def _length(content: bytes, begin: int) -> int:
    """Of the frame that begins there, or of the head that tells it."""
    if len(content) - begin < _PRELUDE:
        return _PRELUDE
    (length,) = struct.unpack_from(">I", content, begin)
    if length > _MOST:
        raise TooLong("an event is longer than 8 MB")
    if length < _PRELUDE + 4:
        raise ValueError("a frame is shorter than its own head")
    return int(length)


def _event(frame: bytes) -> tuple[bytes, bytes]:
    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    try:
        message = buffer.next()
    except (ParserError, StopIteration, LookupError, struct.error, UnicodeDecodeError) as problem:
        raise ValueError("a frame is damaged") from problem
    return _named(message.headers, message.payload)


def _named(headers: Mapping[str, Any], payload: bytes) -> tuple[bytes, bytes]:
    """Exceptions have a type of their own; errors say what they are in their headers and have no payload."""
    kind = headers.get(":message-type")
    if kind == "error":
        code, said = headers.get(":error-code"), headers.get(":error-message")
        return b"error", to_json({"message": str(said or code), "code": str(code)})
    if kind == "exception":
        return str(headers.get(":exception-type", "Exception")).encode(), payload or b"{}"
    return str(headers.get(":event-type", "")).encode(), payload or b"{}"
