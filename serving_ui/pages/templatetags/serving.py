"""Tags and filters of all templates: icons, dates, provider tiles, links to the documentation. No queries."""

from __future__ import annotations

from datetime import datetime
from secrets import token_urlsafe

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from serving_ui import __version__
from serving_ui.lib import clock
from serving_ui.pages.docs import library
from serving_ui.pages.submissions import FORM_ID
from serving_ui.pages.translation import translate

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of the sprite, hidden from screen readers; a text stands beside it."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("icons.svg"),
        name,
    )


@register.simple_tag
def form_id() -> SafeString:
    """A hidden field with a random id, by which `pages.submissions` recognises a form that is sent twice."""
    return format_html(
        '<input type="hidden" name="{}" value="{}" autocomplete="off">', FORM_ID, token_urlsafe(16)
    )


@register.simple_tag
def version() -> str:
    """The product's version."""
    return __version__


@register.simple_tag
def help_link(page: str) -> SafeString:
    """A link to the page of the documentation that explains this one: `secrets`, or `secrets#rights-on-a-scope`."""
    name, sharp, anchor = page.partition("#")
    found = library.page(name)
    if found is None:
        raise ValueError(f"The documentation has no page {name}.")
    return format_html(
        '<a class="help-link" href="{}{}{}">{}<span class="visually-hidden" lang="en">: {}</span></a>',
        found.address,
        sharp,
        anchor,
        _("Help"),
        found.title,
    )


@register.filter
def time_ago(moment: datetime | None) -> SafeString | str:
    """How long ago, with the full timestamp as its title."""
    if moment is None:
        return "–"
    seconds = (clock.now() - moment).total_seconds()
    words = (
        _("just now")
        if seconds < 60
        else _("%(time)s ago") % {"time": timesince(moment, clock.now(), depth=1)}
    )
    return format_html(
        '<time class="nowrap" datetime="{}" title="{}">{}</time>', moment.isoformat(), full(moment), words
    )


@register.filter
def timestamp(moment: datetime | None) -> SafeString | str:
    """The full timestamp."""
    if moment is None:
        return "–"
    return format_html('<time class="nowrap" datetime="{}">{}</time>', moment.isoformat(), full(moment))


@register.filter
def tile(label: str) -> SafeString:
    """A tile with the first letter of a provider, instead of its logo."""
    return format_html('<span class="mark" aria-hidden="true">{}</span>', label[:1].upper())


def full(moment: datetime) -> str:
    """2026-11-22 14:03:07 UTC."""
    local = timezone.localtime(moment)
    return f"{date_format(local, 'Y-m-d H:i:s')} {local.tzname()}"


@register.filter
def translated(text: str) -> str:
    """A sentence of the catalogue in the reader's language."""
    return translate(text)
