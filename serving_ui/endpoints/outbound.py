"""The outbound policy and the providers' addresses, as the settings of this server define them."""

from __future__ import annotations

from django.conf import settings

from serving_ui.catalogue.upstream import Addresses
from serving_ui.lib.egress import EgressPolicy


def addresses() -> Addresses:
    """The providers' addresses, with the replacements of SERVING_UI_BASE_URL_<PROVIDER>."""
    return Addresses(settings.PROVIDER_ADDRESSES)


def policy() -> EgressPolicy:
    """Which URLs and addresses upstream requests may reach."""
    return EgressPolicy(listed=tuple(settings.EGRESS_LISTED), loopback=settings.EGRESS_LOOPBACK)
