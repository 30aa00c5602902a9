"""Deploying on this server: is the provider there, and does it take the credentials? One attempt a call.

A 401 fails the update. A provider that has no such call, or answers that it does not allow it, is used as given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from math import ceil

import requests

from serving_ui.backends.outbound import CredentialsRefused, EgressRefused, send, words_of
from serving_ui.catalogue import registry
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.spec import ServedEntity
from serving_ui.catalogue.wire import Addresses, SecretUnusable, UpstreamRequest
from serving_ui.lib.egress import EgressPolicy
from serving_ui.lib.retry_after import asked_for

RETRYABLE = (408, 429, 500, 502, 503, 504)


class Outcome(IntEnum):
    """What came of a check; the greater the worse."""

    VERIFIED = 0
    UNVERIFIED = 1
    RETRY = 2
    REJECTED = 3


@dataclass(frozen=True)
class Verdict:
    """An outcome with its reason, a sentence in the provider's words where it has said any."""

    outcome: Outcome
    message: str = ""
    retry_after: int = 0  # seconds


def check_credentials(entity: ServedEntity, *, addresses: Addresses, policy: EgressPolicy) -> Verdict:
    """Asks the provider once whether it takes the (resolved) credentials of `entity`."""
    external = entity.external_model
    provider = registry.get(external.provider)
    try:
        request = provider.check(external.config, external.name, external.task, addresses)
    except SecretUnusable as error:
        return Verdict(Outcome.REJECTED, str(error))
    if request is None:
        return Verdict(Outcome.UNVERIFIED, f"{provider.label} has no call that checks them.")
    verdict = _ask(request, provider, policy)
    secrets = [secret.reveal() for secret in external.config.secrets().values()]
    return Verdict(verdict.outcome, _without(secrets, verdict.message), verdict.retry_after)


def _ask(request: UpstreamRequest, provider: Provider, policy: EgressPolicy) -> Verdict:
    label = provider.label
    try:
        response = send(request, policy=policy)
    except EgressRefused as refusal:
        return Verdict(Outcome.REJECTED, str(refusal))
    except CredentialsRefused as refusal:
        return Verdict(
            Outcome.REJECTED, f"{label} refused the credentials: {refusal} Correct them and update."
        )
    except requests.Timeout:
        return Verdict(Outcome.RETRY, f"{label} did not answer in time.")
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return Verdict(Outcome.RETRY, f"{label} cannot be reached. Check the address and the network.")
    except requests.HTTPError as error:
        return _judged(error.response, provider)
    except (requests.RequestException, KeyError, ValueError):
        return Verdict(
            Outcome.REJECTED, f"{label} gave an answer that cannot be understood. Check the address."
        )
    return _judged(response, provider)


def _judged(response: requests.Response, provider: Provider) -> Verdict:
    status, words = response.status_code, words_of(response)
    if status < 300:
        return Verdict(Outcome.VERIFIED)
    said = f"{provider.label} answered {status}: {words}"
    if status in provider.refusals:
        return Verdict(Outcome.REJECTED, f"{said} Check the credentials and update.")
    if status in RETRYABLE:
        return Verdict(Outcome.RETRY, said, _retry_after(response))
    return Verdict(Outcome.UNVERIFIED, said)


def _retry_after(response: requests.Response) -> int:
    """Whole seconds, at most a minute."""
    return ceil(min(asked_for(response.headers) or 0, 60))


def _without(secrets: list[str], message: str) -> str:
    """Vendors quote the key that they refuse; we do not."""
    for secret in filter(None, secrets):
        message = message.replace(secret, "…")
    return re.sub(r"\b(sk|key|dapi)-[A-Za-z0-9_*-]{8,}", "…", message)
