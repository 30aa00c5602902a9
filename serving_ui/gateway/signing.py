"""Adds to a request what proves to a provider who asks, when that is more than a fixed header: a fetched token or a signature."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from serving_ui.catalogue.upstream import AwsInstanceProfile, AwsSigV4, UpstreamRequest
from serving_ui.gateway import tokens
from serving_ui.gateway.credentials import Credentials
from serving_ui.gateway.upstream import UpstreamClient
from serving_ui.lib.egress import EgressPolicy

if TYPE_CHECKING:
    from serving_ui.gateway.aws import Signer


class Signing:
    """The tokens and keys of this process."""

    def __init__(self, client: UpstreamClient) -> None:
        self._credentials = Credentials(client)

    @cached_property
    def _aws(self) -> Signer:
        """Loaded when first asked for: most gateways have no use for its 6 MB."""
        signer: Signer = import_module("serving_ui.gateway.aws").Signer()
        return signer

    async def signed(self, request: UpstreamRequest, *, policy: EgressPolicy) -> UpstreamRequest:
        """The request as it is sent. Raises GatewayError, UpstreamFault or EgressRefused."""
        auth = request.auth
        if auth is None:
            return request
        if isinstance(auth, AwsSigV4 | AwsInstanceProfile):
            return await self._aws.signed(request)
        token = await self._credentials.token(auth, policy=policy)
        return tokens.bearing(request, token)

    def forget(self, request: UpstreamRequest) -> None:
        """The provider refused the token: the next query asks for a new one."""
        if request.auth is not None and not isinstance(request.auth, AwsSigV4 | AwsInstanceProfile):
            self._credentials.forget(request.auth)
