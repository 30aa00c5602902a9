"""The settings of an endpoint with a fixed number of inputs, each in a section of the form: everything that the form knows of them.

Settings with rows, such as rate limits and tags, are in `rows`, `rate_limits` and `draft`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from serving_ui.catalogue.endpoint_settings import CONNECT_SECONDS, FIRST_BYTE_SECONDS, TOTAL_SECONDS
from serving_ui.catalogue.problems import Path
from serving_ui.catalogue.translatable import TranslatableText, _
from serving_ui.endpoints.models import Endpoint
from serving_ui.pages.forms.inputs import text_input
from serving_ui.pages.translation import translate


@dataclass(frozen=True)
class NumberInput:
    """The input of a number. `field` is its field in the setting, `default` the number that applies if it is empty."""

    name: str
    field: str
    label: TranslatableText
    default: float


@dataclass(frozen=True)
class Setting:
    """A setting that is an object of numbers. `name` is that of the endpoint's column, of `EndpointChanges` and of the API."""

    name: str
    heading: TranslatableText
    text: TranslatableText
    summary: TranslatableText
    """Of the collapsed part with the inputs."""
    help: str
    """The page of the documentation, as for `help_link`."""
    inputs: tuple[NumberInput, ...]

    def form_fields(self) -> dict[str, forms.CharField]:
        return {
            each.name: text_input(
                translate(each.label), max_length=8, inputmode="decimal", placeholder=f"{each.default:g}"
            )
            for each in self.inputs
        }

    def values_of(self, endpoint: Endpoint) -> dict[str, str]:
        """The stored values, by input name."""
        stored = getattr(endpoint, self.name)
        return {each.name: f"{stored[each.field]:g}" for each in self.inputs if each.field in stored}

    def typed(self, values: Mapping[str, str]) -> dict[str, Any]:
        """The setting as in the API."""
        texts = {each.field: values.get(each.name, "").strip() for each in self.inputs}
        return {field: _number_or_text(text) for field, text in texts.items() if text}

    def paths(self) -> dict[Path, str]:
        """The input name of each path of the API's request body."""
        return {(self.name, each.field): each.name for each in self.inputs}


SETTINGS = (
    Setting(
        name="timeouts",
        heading=_("Timeouts"),
        text=_("Optional. How long the gateway waits for the provider."),
        summary=_("Set timeouts"),
        help="endpoints-and-their-life#timeouts",
        inputs=(
            NumberInput("timeout_connect_seconds", "connect_seconds", _("Connect (s)"), CONNECT_SECONDS),
            NumberInput(
                "timeout_first_byte_seconds", "first_byte_seconds", _("First byte (s)"), FIRST_BYTE_SECONDS
            ),
            NumberInput("timeout_total_seconds", "total_seconds", _("Whole answer (s)"), TOTAL_SECONDS),
        ),
    ),
)
INPUT_NAMES = tuple(name for setting in SETTINGS for name in setting.paths().values())


@dataclass(frozen=True)
class Section:
    """A setting in the form."""

    setting: Setting
    fields: list[forms.BoundField]

    @property
    def is_open(self) -> bool:
        """Whether an input has a value or an error, so that the collapsed part must be open."""
        return any(field.errors or field.value() for field in self.fields)


def sections(form: forms.Form) -> list[Section]:
    return [Section(setting, [form[name] for name in setting.paths().values()]) for setting in SETTINGS]


def form_fields() -> dict[str, forms.CharField]:
    return {name: field for setting in SETTINGS for name, field in setting.form_fields().items()}


def values_of(endpoint: Endpoint) -> dict[str, str]:
    """The stored values of all settings, by input name."""
    return {name: value for setting in SETTINGS for name, value in setting.values_of(endpoint).items()}


def _number_or_text(typed: str) -> float | str:
    """Text that is not a number, or of 12 characters and more, stays text, which validation refuses."""
    try:
        return float(typed) if len(typed) < 12 else typed
    except ValueError:
        return typed
