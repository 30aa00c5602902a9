"""Authenticates requests to providers that want more than a fixed header: a fetched access token or an AWS signature."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from serving_ui.catalogue.upstream import AwsInstanceProfile, AwsSigV4, UpstreamRequest
from serving_ui.gateway import oauth_tokens
from serving_ui.gateway.token_cache import TokenCache
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.lib.egress import EgressPolicy

if TYPE_CHECKING:
    from serving_ui.gateway.aws_signing import AwsSigner


class ProviderAuth:
    """The tokens and AWS keys of this process."""

    def __init__(self, client: UpstreamClient) -> None:
        self._token_cache = TokenCache(client)

    async def authenticate(self, request: UpstreamRequest, *, policy: EgressPolicy) -> UpstreamRequest:
        """The request with its token or signature. Raises GatewayError, UpstreamFault or EgressRefused."""
        auth = request.auth
        if auth is None:
            return request
        if isinstance(auth, AwsSigV4 | AwsInstanceProfile):
            return await self._aws_signer.sign(request)
        token = await self._token_cache.token(auth, policy=policy)
        return oauth_tokens.with_bearer_token(request, token)

    def forget(self, request: UpstreamRequest) -> None:
        """Fetch a new token for the next query, because the provider refused this one."""
        if request.auth is not None and not isinstance(request.auth, AwsSigV4 | AwsInstanceProfile):
            self._token_cache.forget(request.auth)

    @cached_property
    def _aws_signer(self) -> AwsSigner:
        from serving_ui.gateway.aws_signing import AwsSigner  # noqa: PLC0415 - 6 MB that most gateways never need

        return AwsSigner()
