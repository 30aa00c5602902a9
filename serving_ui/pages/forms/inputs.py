"""Inputs of the endpoint form. They validate nothing: the catalogue validates, and an invalid value is shown again as it was typed."""

from __future__ import annotations

from django import forms

from serving_ui.catalogue.provider import Provider

MODEL = "external_model_name"


def text_input(
    label: str, *, max_length: int, optional: bool = False, help: str = "", **attrs: str
) -> forms.CharField:
    """`max_length` limits typing only."""
    set_attrs = {name: value for name, value in attrs.items() if value}
    widget = forms.TextInput(
        attrs={"maxlength": max_length, "autocomplete": "off", "spellcheck": "false", **set_attrs}
    )
    return as_optional(
        forms.CharField(label=label, required=False, help_text=help, widget=widget, strip=False), optional
    )


def textarea(label: str, *, optional: bool, help: str = "", **attrs: str) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 2, **attrs})
    return as_optional(
        forms.CharField(label=label, required=False, help_text=help, widget=widget, strip=False), optional
    )


def as_optional(field: forms.CharField, is_optional: bool) -> forms.CharField:
    """The field, with or without the word "optional" beside its label."""
    field.is_optional = is_optional  # type: ignore[attr-defined]
    return field


def input_name(provider: Provider, name: str) -> str:
    """The input name of a provider's field, prefixed with the provider, so that a key typed for one never fills another's field."""
    return f"{provider.name}__{name}"
