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
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import InstanceMetadataProvider, ReadOnlyCredentials
from botocore.eventstream import EventStreamBuffer, ParserError
from botocore.exceptions import BotoCoreError
from botocore.utils import InstanceMetadataFetcher
from pydantic_core import from_json, to_json

from serving_ui.catalogue.wire import AwsInstanceProfile, AwsSigV4, UpstreamRequest
from serving_ui.gateway.errors import GatewayError
from serving_ui.gateway.sse import TooLong

_log = logging.getLogger("serving_ui.gateway")
_MOST = 8 * 1024 * 1024
_PRELUDE = 12
_METADATA_SECONDS = 2
_TRY_AGAIN_AFTER = 5.0


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


class Signer:
    """Signs what this process sends, and keeps the keys of the machine."""

    def __init__(self) -> None:
        self._machine = _Machine()

    async def signed(self, request: UpstreamRequest) -> UpstreamRequest:
        """The request with its signature. Raises GatewayError when the machine has no such keys."""
        auth = request.auth
        if isinstance(auth, AwsInstanceProfile):
            keys = await self._machine.keys(auth.arn)
            return _signed(request, keys, auth.service, auth.region)
        return signed(request)


class _Machine:
    """The keys of this machine's instance profile: asked for once, renewed a quarter of an hour before they end.

    While they are valid nobody waits for their renewal, and a metadata service that is down is not asked for each query.
    """

    def __init__(self) -> None:
        self._metadata: _Metadata | None = None
        self._credentials: Any = None
        self._loading = asyncio.Lock()
        self._silent_until = 0.0

    async def keys(self, arn: str) -> Any:
        """Keys that are valid now. Raises GatewayError."""
        if self._credentials is None:
            async with self._loading:
                if self._credentials is None:
                    await self._load()
        if self._metadata is not None and self._metadata.profile != arn:
            raise GatewayError(400, _other_profile(arn, self._metadata.profile))
        if not self._credentials.refresh_needed():
            return self._credentials.get_frozen_credentials()
        try:
            return await asyncio.to_thread(self._credentials.get_frozen_credentials)
        except (BotoCoreError, RuntimeError) as problem:
            raise GatewayError(
                503,
                "AWS does not renew the keys of this machine's instance profile. Try again.",
                retry_after=5,
            ) from problem

    async def _load(self) -> None:
        if monotonic() >= self._silent_until:
            try:
                self._metadata = _Metadata()
                self._credentials = await asyncio.to_thread(InstanceMetadataProvider(self._metadata).load)
            except BotoCoreError:
                _log.exception("The metadata service of this machine gives no keys.")
            if self._credentials is None:
                self._silent_until = monotonic() + _TRY_AGAIN_AFTER
        if self._credentials is None:
            raise GatewayError(
                400,
                "The endpoint uses an instance profile, but this machine has none. The person who manages the endpoint "
                "must give access keys, or the gateway must run on an EC2 instance that has the profile.",
            )


class _Metadata(InstanceMetadataFetcher):  # type: ignore[misc] # botocore has no types
    """Asks the metadata service for keys, and for the name of the profile that they belong to."""

    def __init__(self) -> None:
        given = {
            "ec2_metadata_service_endpoint": os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
            "ec2_metadata_service_endpoint_mode": os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"),
        }
        super().__init__(timeout=_METADATA_SECONDS, num_attempts=2, config=given)
        self.profile = ""

    def retrieve_iam_role_credentials(self) -> dict[str, Any]:
        found: dict[str, Any] = super().retrieve_iam_role_credentials()
        if found:
            self.profile = self._profile()
        return found

    def _profile(self) -> str:
        try:
            token = self._fetch_metadata_token()
            told = self._get_request("latest/meta-data/iam/info", self._needs_retry_for_credentials, token)
            return str(from_json(told.text)["InstanceProfileArn"])
        except (self._RETRIES_EXCEEDED_ERROR_CLS, BotoCoreError, KeyError, TypeError):
            return self.profile


def _other_profile(wanted: str, found: str) -> str:
    return (
        f"The endpoint uses the instance profile {wanted}, but this machine has {found or 'another one'}. "
        "The person who manages the endpoint must give the one that the machine has, or access keys."
    )


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
        said = headers.get(":error-message") or headers.get(":error-code")
        return b"error", to_json({"message": str(said)})
    name = headers.get(":exception-type" if kind == "exception" else ":event-type", "")
    return str(name).encode(), payload or b"{}"
