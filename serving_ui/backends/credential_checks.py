"""Checks the credentials of a served entity at its provider. Each check makes one attempt.

It may take `transport.CALL_SECONDS`. `endpoints/reconcile.py` repeats the checks of an update until `CHECK_DEADLINE_SECONDS`.

A status in `Provider.check_refused` fails the update, and so do a redirect, a certificate for another host, a forbidden address and a key
that cannot be sent in a header. If the provider has no call that checks credentials, or its answer does not tell whether they are valid,
they are unverified and used as they are.
"""

from __future__ import annotations

from math import ceil

from serving_ui.backends.protocol import Observation, Progress
from serving_ui.backends.transport import Aborted, Call, ProviderResponse
from serving_ui.catalogue import provider_errors, registry
from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_errors import ProviderError
from serving_ui.catalogue.upstream import (
    Addresses,
    AwsInstanceProfile,
    AwsSigV4,
    SecretUnusable,
    UpstreamRequest,
)
from serving_ui.gateway import oauth_tokens
from serving_ui.gateway.connection import TimedOut, UpstreamFault
from serving_ui.gateway.errors import GatewayError, provider_message, request_secrets
from serving_ui.gateway.outgoing import InvalidUpstreamRequest
from serving_ui.gateway.pool import CertificateInvalid
from serving_ui.lib import json_text
from serving_ui.lib.egress import EgressRefused
from serving_ui.lib.retry_after import retry_after_seconds

RETRYABLE = (408, 429, 500, 502, 503, 504)
MAX_BYTES = 64 * 1024  # of a response are read; only an error message is needed
MAX_MESSAGE_CHARS = 500


def check_credentials(external: ExternalModel, *, addresses: Addresses, call: Call) -> Observation:
    """Checks the credentials of a model whose secrets are plaintext. Raises Aborted."""
    provider = registry.get(external.provider)
    try:
        request = provider.check(external.config, external.name, external.task, addresses)
    except SecretUnusable as error:
        return Observation(Progress.FAILED, str(error))
    if request is None:
        return Observation(Progress.READY_UNVERIFIED, f"{provider.label} has no call that checks them.")
    secrets = [secret.reveal() for secret in external.config.secrets().values()]
    try:
        request = authorize(request, call)
        secrets += request_secrets(url=request.url, headers=request.headers)
        with call.send(request) as response:
            return _verdict_on_response(response, provider, secrets)
    except Aborted:
        raise
    except (UpstreamFault, EgressRefused, GatewayError) as problem:
        return _verdict_on_error(problem, str(provider.label))


def authorize(request: UpstreamRequest, call: Call) -> UpstreamRequest:
    """Adds the signature or token, like the gateway. Raises GatewayError, UpstreamFault or EgressRefused."""
    auth = request.auth
    if auth is None:
        return request
    if isinstance(auth, AwsSigV4 | AwsInstanceProfile):
        from serving_ui.gateway.aws_signing import sign_blocking  # noqa: PLC0415 - 6 MB that only Bedrock needs

        return sign_blocking(request)
    form = oauth_tokens.token_form(auth)
    with call.send(oauth_tokens.token_request(auth, form)) as response:
        content = response.read_start(max_bytes=oauth_tokens.MAX_REPLY_BYTES)
        token, _seconds = oauth_tokens.read_token(
            status=response.status, headers=response.headers, content=content, form=form
        )
    return oauth_tokens.with_bearer_token(request, token)


def _verdict_on_response(response: ProviderResponse, provider: Provider, secrets: list[str]) -> Observation:
    status, label = response.status, provider.label
    if status < 300 and "html" in response.headers.get("content-type", "").lower():
        return Observation(
            Progress.READY_UNVERIFIED, f"{label} answered with a web page instead of JSON. Check the address."
        )
    content = response.read_start(max_bytes=MAX_BYTES)
    if status < 300:
        failed = _reported_failure(content)
        if failed is None:
            return Observation(Progress.READY)
        status = failed.status
    elif status < 400:
        return Observation(
            Progress.FAILED,
            f"{label} answered with a redirect ({status}), which is never followed. Give the final address.",
        )
    words = provider_message(content, secrets=secrets, max_chars=MAX_MESSAGE_CHARS)
    message = f"{label} answered {status}: {words}"
    if status in provider.check_refused:
        return Observation(Progress.FAILED, f"{message} Check the credentials and update.")
    if status in RETRYABLE:
        return Observation(Progress.RETRY, message, ceil(min(retry_after_seconds(response.headers) or 0, 60)))
    return Observation(Progress.READY_UNVERIFIED, message)


def _reported_failure(content: bytes) -> ProviderError | None:
    """The error that a response with status 200 reports. None for a list of models that was cut at MAX_BYTES, which is no valid JSON."""
    try:
        return provider_errors.error_in_response(json_text.read(content))
    except json_text.JsonInvalid:
        return None


def _verdict_on_error(problem: Exception, label: str) -> Observation:
    """The verdict on an error without a response. Errors that the gateway does not retry are not retried here either."""
    if isinstance(problem, EgressRefused):
        return Observation(Progress.FAILED, str(problem))
    if isinstance(problem, GatewayError):  # there is no token, or no signature
        outcome = Progress.RETRY if problem.status >= 500 else Progress.FAILED
        return Observation(outcome, f"{label}: {problem.message}", problem.retry_after or 0)
    if isinstance(problem, InvalidUpstreamRequest | CertificateInvalid):
        return Observation(Progress.FAILED, f"{label} cannot be called: {problem}. Correct it and update.")
    if isinstance(problem, TimedOut):
        return Observation(Progress.RETRY, f"{label} did not answer in time.")
    return Observation(
        Progress.RETRY, f"{label} cannot be reached: {problem}. Check the address and the network."
    )
