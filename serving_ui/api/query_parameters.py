"""Reads the query of an address. Raises Refusal with the name of the parameter."""

from __future__ import annotations

from django.utils.translation import gettext as _

from serving_ui.api.http import ApiRequest
from serving_ui.lib.refusal import Refusal


def required(request: ApiRequest, name: str) -> str:
    """A parameter that must be there."""
    value = request.GET.get(name, "")
    if not value:
        raise Refusal(_("The parameter %(name)s is missing. Add it to the address.") % {"name": name})
    return value


def whole_number(request: ApiRequest, name: str, *, default: int, most: int) -> int:
    """A number from 0 to `most`; a larger one counts as `most`."""
    value = request.GET.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdigit()):
        raise Refusal(_("The parameter %(name)s must be a whole number.") % {"name": name})
    return min(int(value[:12]), most)
