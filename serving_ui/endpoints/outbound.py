"""The outbound policy and the vendors' addresses of this server, from the settings."""

from __future__ import annotations

from django.conf import settings

from serving_ui.catalogue.upstream import Addresses
from serving_ui.lib.egress import EgressPolicy


def addresses() -> Addresses:
    """Where the vendors stand, with the replacements of the settings."""
    return Addresses(settings.VENDOR_ADDRESSES)


def policy() -> EgressPolicy:
    """What may be reached."""
    return EgressPolicy(listed=tuple(settings.EGRESS_LISTED), loopback=settings.EGRESS_LOOPBACK)
