"""Asks a model host which models it has. One attempt, with the bounds of `transport` on time and of MAX_BYTES on the answer."""

from __future__ import annotations

from serving_ui.backends.credential_checks import MAX_MESSAGE_CHARS, authorize, check_credentials
from serving_ui.backends.protocol import Progress
from serving_ui.backends.transport import Aborted, Call, ProviderResponse
from serving_ui.catalogue import model_list
from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.model_list import ModelList, NotAModelList
from serving_ui.catalogue.translatable import TranslatableText, _
from serving_ui.catalogue.upstream import Addresses, SecretUnusable
from serving_ui.gateway.connection import TimedOut, UpstreamFault
from serving_ui.gateway.errors import GatewayError, provider_message, request_secrets
from serving_ui.lib import json_text
from serving_ui.lib.egress import EgressRefused

MAX_BYTES = 4 * 1024 * 1024
"""A list of 10,000 models has about 1 MB."""

_REDIRECT = _("It answered with a redirect (%(status)s), which is never followed. Give the final address.")
_REFUSED = _("It refused the secret (%(status)s): %(words)s Give the host another secret.")
_NO_LIST = _(
    "It has no list of models at this address (404). Check the address; that of most servers ends with /v1."
)
_STATUS = _("It answered %(status)s: %(words)s")
_WEB_PAGE = _("It answered with a web page instead of a list of models. Check the address.")
_TOO_LONG = _("Its list of models is longer than %(limit)s MB, which is not read.")
_NOT_JSON = _("Its list of models is not valid JSON. %(why)s")
_NOT_A_LIST = _("Its answer is JSON, but no list of models. Check the address.")


class ListFailed(Exception):
    """The host gave no list. The text is a sentence for a person, without any secret."""


def list_models(external: ExternalModel, *, addresses: Addresses, call: Call) -> ModelList:
    """The models of the host of `external`, whose secrets are plaintext; its own model name counts for nothing. Raises ListFailed and Aborted."""
    try:
        request = external.provider_entry.list_models(external.config, addresses)
        if request is None:
            raise ListFailed(
                _("%(provider)s has no list of models. Name the models of this host.").fill(
                    provider=external.provider_entry.label
                )
            )
        request = authorize(request, call)
        secrets = [secret.reveal() for secret in external.config.secrets().values()]
        secrets += request_secrets(url=request.url, headers=request.headers)
        with call.send(request) as response:
            return _parsed(response, secrets)
    except Aborted:
        raise
    except TimedOut:
        raise ListFailed(_("It did not answer in time.")) from None
    except GatewayError as problem:  # there is no token, or no signature
        raise ListFailed(problem.message) from None
    except UpstreamFault as fault:
        raise ListFailed(_("It cannot be reached: %(why)s.").fill(why=fault)) from None
    except (EgressRefused, SecretUnusable) as problem:
        raise ListFailed(str(problem)) from None


def check_account(external: ExternalModel, *, addresses: Addresses, call: Call) -> None:
    """Checks the credentials of a host whose models were named. Raises ListFailed and Aborted."""
    observation = check_credentials(external, addresses=addresses, call=call)
    if observation.progress in (Progress.RETRY, Progress.FAILED):
        raise ListFailed(observation.message)


def _parsed(response: ProviderResponse, secrets: list[str]) -> ModelList:
    content = response.read_start(max_bytes=MAX_BYTES + 1)
    if problem := _status_problem(response, content, secrets):
        raise ListFailed(problem)
    if len(content) > MAX_BYTES:
        raise ListFailed(_TOO_LONG.fill(limit=MAX_BYTES // 1024**2))
    try:
        return model_list.parse(json_text.read(content))
    except json_text.JsonInvalid as invalid:
        if "html" in response.headers.get("content-type", "").lower():
            raise ListFailed(_WEB_PAGE) from None
        raise ListFailed(_NOT_JSON.fill(why=invalid)) from None
    except NotAModelList:
        raise ListFailed(_NOT_A_LIST) from None


def _status_problem(
    response: ProviderResponse, content: bytes, secrets: list[str]
) -> TranslatableText | None:
    status = response.status
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return _REDIRECT.fill(status=status)
    if status == 404:
        return _NO_LIST
    words = provider_message(content, secrets=secrets, max_chars=MAX_MESSAGE_CHARS)
    return (_REFUSED if status in (401, 403) else _STATUS).fill(status=status, words=words)
