"""AI21 Labs: completions.

Vendor facts as of November 2026, docs.ai21.com/reference: base https://api.ai21.com/studio/v1, bearer token. It has no list of
models; listing the files of the (mostly empty) library is a call that changes nothing and needs a valid key.
"""

from __future__ import annotations

from serving_ui.catalogue import wire
from serving_ui.catalogue.config import ProviderConfig
from serving_ui.catalogue.fields import secret
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.text import _
from serving_ui.catalogue.wire import Addresses, UpstreamRequest

DEFAULT_BASE = "https://api.ai21.com/studio/v1"


class Ai21LabsConfig(ProviderConfig):
    ai21labs_api_key: Secret = secret(_("AI21 Labs API key"))


def _base_url(_config: Ai21LabsConfig, addresses: Addresses) -> str:
    return addresses.vendor(DEFAULT_BASE, "ai21labs")


def _check(config: Ai21LabsConfig, _model: str, _task: Task, addresses: Addresses) -> UpstreamRequest:
    address = _base_url(config, addresses) + "/library/files?limit=1"
    return wire.get(address, (wire.bearer(config.ai21labs_api_key),))


PROVIDER = Provider(
    name="ai21labs",
    label=_("AI21 Labs"),
    config=Ai21LabsConfig,
    models={Task.COMPLETIONS: ("j2-mid", "j2-light", "j2-ultra")},
    base_url=_base_url,
    check=_check,
)
