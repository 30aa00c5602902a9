"""Reads query parameters. Raises Refusal with the name of the parameter."""

from __future__ import annotations

from django.utils.translation import gettext as _

from serving_ui.api.request import ApiRequest
from serving_ui.lib.refusal import Refusal


def whole_number(request: ApiRequest, name: str, *, default: int, maximum: int) -> int:
    """A number from 0 to `maximum`; a larger one counts as `maximum`."""
    value = request.GET.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdigit()):
        raise Refusal(_("The parameter %(name)s must be a whole number.") % {"name": name})
    return min(int(value[:12]), maximum)
