"""Signs requests to AWS (Signature Version 4), with an endpoint's access keys or with those of this machine's instance profile.

Imported when an endpoint on AWS is first queried: botocore's signer takes 5.7 MB and 35 ms once, then 50 us a request.
Sources, November 2026, docs.aws.amazon.com: "AWS Signature Version 4" and "Use IMDSv2". The instance metadata service is the one
address that the outbound policy never allows; it is called here nevertheless, because it gives only this machine's own keys and
no endpoint's config can change its address.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil
from time import monotonic
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from botocore.utils import InstanceMetadataFetcher
from pydantic_core import from_json

from serving_ui.catalogue.upstream import AwsInstanceProfile, AwsSigV4, UpstreamRequest
from serving_ui.gateway.errors import GatewayError

_log = logging.getLogger("serving_ui.gateway")
_METADATA_TIMEOUT_SECONDS = 2
_RETRY_SECONDS = 10.0
_RENEW_EARLY_SECONDS = 900.0

_NO_PROFILE = (
    "The endpoint uses an instance profile, but this machine has none. The person who manages the endpoint "
    "must give access keys, or the gateway must run on an EC2 instance that has the profile."
)
_OTHER_PROFILE = (
    "The endpoint uses the instance profile {wanted}, but this machine has {found}. "
    "The person who manages the endpoint must give the one that the machine has, or access keys."
)
_NOT_RENEWED = (
    "The keys of this machine's instance profile have expired, and AWS gives no new ones. Try again."
)


class AwsSigner:
    """Signs what this process sends, and caches the keys of its machine."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._profile_keys = _InstanceProfileKeys(clock)

    async def sign(self, request: UpstreamRequest) -> UpstreamRequest:
        """The request with its signature. Raises GatewayError when the machine has no such keys."""
        auth = request.auth
        if isinstance(auth, AwsInstanceProfile):
            return _signed(request, await self._profile_keys.get(auth.arn), auth.service, auth.region)
        return _sign_with_access_keys(request)


def sign_blocking(request: UpstreamRequest) -> UpstreamRequest:
    """The same for a single request outside of an event loop: nothing is cached. Blocks; raises GatewayError."""
    auth = request.auth
    if isinstance(auth, AwsInstanceProfile):
        keys = _usable(_fetch_or_none(monotonic), auth.arn, monotonic())
        return _signed(request, keys, auth.service, auth.region)
    return _sign_with_access_keys(request)


def _sign_with_access_keys(request: UpstreamRequest) -> UpstreamRequest:
    auth = request.auth
    if not isinstance(auth, AwsSigV4):
        raise ValueError("Only a request with access keys can be signed.")
    keys = ReadOnlyCredentials(auth.access_key_id.reveal(), auth.secret_access_key.reveal(), None)
    return _signed(request, keys, auth.service, auth.region)


def _signed(request: UpstreamRequest, keys: Any, service: str, region: str) -> UpstreamRequest:
    aws_request = AWSRequest(
        request.method, request.url, headers=dict(request.headers), data=request.body or b""
    )
    SigV4Auth(keys, service, region).add_auth(aws_request)
    return replace(request, headers=tuple(aws_request.headers.items()))


@dataclass(frozen=True, slots=True)
class _CachedKeys:
    """Keys and the ARN of their profile. `renew_at` and `expires_at` are times of the clock given to AwsSigner."""

    keys: Any = field(repr=False)
    profile: str
    renew_at: float
    expires_at: float


class _InstanceProfileKeys:
    """The keys of this machine's instance profile, renewed before they expire.

    While they are valid no query waits for their renewal. The metadata service is called at most once in _RETRY_SECONDS.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._cached: _CachedKeys | None = None
        self._fetch: asyncio.Task[None] | None = None
        self._next_fetch_at = clock()

    async def get(self, arn: str) -> Any:
        """Keys of the profile `arn` that are valid now. Raises GatewayError."""
        now = self._clock()
        cached = self._cached
        is_usable = cached is not None and cached.expires_at > now and cached.profile == arn
        if self._next_fetch_at <= now and (cached is None or not is_usable or cached.renew_at <= now):
            if self._fetch is None:
                self._fetch = asyncio.get_running_loop().create_task(self._renew())
            if not is_usable:
                await asyncio.shield(self._fetch)
                cached = self._cached
        return _usable(cached, arn, now)

    async def _renew(self) -> None:
        try:
            self._cached = await asyncio.to_thread(_fetch_or_none, self._clock) or self._cached
        finally:
            self._next_fetch_at = self._clock() + _RETRY_SECONDS
            self._fetch = None


def _usable(cached: _CachedKeys | None, arn: str, now: float) -> Any:
    """The keys, if they are valid and belong to the profile `arn`. Raises GatewayError."""
    if cached is None:
        raise GatewayError(400, _NO_PROFILE)
    if cached.expires_at <= now:
        raise GatewayError(503, _NOT_RENEWED, retry_after=ceil(_RETRY_SECONDS))
    if cached.profile != arn:
        raise GatewayError(400, _OTHER_PROFILE.format(wanted=arn, found=cached.profile or "another one"))
    return cached.keys


def _fetch_or_none(clock: Callable[[], float]) -> _CachedKeys | None:
    """The keys of the metadata service; None, with a warning in the log, when it has none. Blocks."""
    try:
        return _fetch_keys(clock)
    except (BotoCoreError, LookupError, TypeError, ValueError) as problem:
        _log.warning("The metadata service of this machine gives no keys: %s", problem)
        return None


def _fetch_keys(clock: Callable[[], float]) -> _CachedKeys:
    """Blocks; raises LookupError when the machine has no keys, BotoCoreError or ValueError."""
    metadata = _InstanceMetadata()
    found: dict[str, str] = metadata.retrieve_iam_role_credentials()
    keys = ReadOnlyCredentials(found["access_key"], found["secret_key"], found["token"])
    seconds = (datetime.fromisoformat(found["expiry_time"]) - datetime.now(UTC)).total_seconds()
    now = clock()
    renew_at = now + max(seconds - _RENEW_EARLY_SECONDS, seconds / 2)
    return _CachedKeys(keys, metadata.profile(), renew_at, now + seconds)


class _InstanceMetadata(InstanceMetadataFetcher):  # type: ignore[misc] # botocore has no types
    """The metadata service, at the address that AWS's own environment variables give."""

    def __init__(self) -> None:
        variables = {
            "ec2_metadata_service_endpoint": "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "ec2_metadata_service_endpoint_mode": "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        }
        config = {name: os.environ.get(variable) for name, variable in variables.items()}
        super().__init__(timeout=_METADATA_TIMEOUT_SECONDS, num_attempts=1, config=config)

    def profile(self) -> str:
        """The ARN of the instance profile; empty when the service does not give it."""
        try:
            token = self._fetch_metadata_token()
            info = self._get_request("latest/meta-data/iam/info", self._needs_retry_for_credentials, token)
            return str(from_json(info.text)["InstanceProfileArn"])
        except (self._RETRIES_EXCEEDED_ERROR_CLS, LookupError, TypeError):
            return ""
