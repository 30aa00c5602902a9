"""A model of one's own in the form of an endpoint: declared like a provider, so that the form treats both alike.

It is no provider of the catalogue, and no request can name it: `body` makes the fields of the API of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django import forms
from django.utils.translation import gettext as _gettext

from serving_ui.catalogue.fields import ConfigField, choice, form_choice, text
from serving_ui.catalogue.own_model import CONCURRENCY_STEP, OwnModel, WorkloadSize, WorkloadType
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.translatable import _
from serving_ui.lib import json_text
from serving_ui.pages.forms.inputs import MODEL, as_optional, input_name, text_input, textarea
from serving_ui.pages.forms.rate_limits import number_or_text
from serving_ui.pages.translation import translate
from serving_ui.registered_models import choices

SIZED_BY, ON = "sized_by", "yes"
_AMOUNT = r"\d{1,7}"
_TYPES = {
    WorkloadType.CPU: _("CPU (1 core)"),
    WorkloadType.CPU_MEDIUM: _("CPU medium (2 cores)"),
    WorkloadType.CPU_LARGE: _("CPU large (4 cores)"),
    WorkloadType.GPU_SMALL: _("GPU small (1 GPU, 4 cores)"),
    WorkloadType.GPU_MEDIUM: _("GPU medium (1 GPU, 8 cores)"),
    WorkloadType.GPU_LARGE: _("GPU large (1 GPU, 16 cores)"),
    WorkloadType.MULTIGPU_MEDIUM: _("Several GPUs (4 GPUs, 32 cores)"),
    WorkloadType.GPU_XLARGE: _("GPU extra large (1 GPU, 16 cores)"),
    WorkloadType.GPU_XLARGE_8: _("GPU extra large (8 GPUs, 64 cores)"),
}
_SIZES = {
    WorkloadSize.SMALL: _("Small (4 requests at a time)"),
    WorkloadSize.MEDIUM: _("Medium (8 to 16 requests at a time)"),
    WorkloadSize.LARGE: _("Large (16 to 64 requests at a time)"),
}
_AMOUNTS = {
    "max_provisioned_concurrency": _("up to %(number)s requests at a time"),
    "min_provisioned_concurrency": _("at least %(number)s"),
    "max_provisioned_throughput": _("up to %(number)s tokens per second"),
    "min_provisioned_throughput": _("at least %(number)s"),
    "provisioned_model_units": _("%(number)s model units"),
}
NUMBERS = tuple(_AMOUNTS)
MINIMUMS = ("min_provisioned_concurrency", "min_provisioned_throughput")
SWITCHES = ("scale_to_zero_enabled", "burst_scaling_enabled")
_WAYS = {
    "size": _("Compute scale-out"),
    "concurrency": _("Custom concurrency"),
    "throughput": _("Tokens per second"),
    "units": _("Model units"),
}


def _amount(label: Any, way: str, *, help: Any, required: bool = True) -> Any:
    return text(label, help=help, required=required, pattern=_AMOUNT, shown_when={SIZED_BY: (way,)})


class OwnModelBlock(ProviderConfig):
    form_choices = (form_choice(SIZED_BY, _("Sized by"), choices=_WAYS),)

    entity_version: str = text(_("Version"), max_length=64)
    workload_type: str = choice(
        _("Compute type"), choices={each.value: label for each, label in _TYPES.items()}, default="CPU"
    )
    workload_size: str = choice(
        _("Compute scale-out"),
        choices={each.value: label for each, label in _SIZES.items()},
        default="Small",
        shown_when={SIZED_BY: ("size",)},
    )
    max_provisioned_concurrency: str = _amount(
        _("Up to (requests at a time)"), "concurrency", help=_("A multiple of 4.")
    )
    min_provisioned_concurrency: str = _amount(
        _("Minimum (requests at a time)"), "concurrency", help=_("A multiple of 4, or 0."), required=False
    )
    max_provisioned_throughput: str = _amount(
        _("Up to (tokens per second)"),
        "throughput",
        help=_("A multiple of what one replica of the model writes."),
    )
    min_provisioned_throughput: str = _amount(
        _("Minimum (tokens per second)"), "throughput", help=_("Always ready. Empty for 0."), required=False
    )
    provisioned_model_units: str = _amount(
        _("Model units"), "units", help=_("One model unit is one replica.")
    )
    burst_scaling_enabled: str = choice(
        _("Burst scaling"),
        choices={ON: _("Yes: up to twice the units"), "no": _("No")},
        default=ON,
        shown_when={SIZED_BY: ("units",)},
    )
    scale_to_zero_enabled: str = choice(
        _("Scale to zero"),
        choices={ON: _("Yes: nothing runs without requests"), "no": _("No")},
        default=ON,
        shown_when={SIZED_BY: ("size", "concurrency")},
    )
    environment_vars: str = text(
        _("Environment variables"),
        help=_(
            'One NAME=value in each line. A value is plain, or exactly {{secrets/scope/key}}. In double quotes it is a JSON string: "two\\nlines".'
        ),
        required=False,
        max_length=32_768,
    )


OWN = Provider(
    name="own-model",
    label=_("My model"),
    config=OwnModelBlock,
    models={},
    base_url=lambda _config, _addresses: "",
    hidden=True,
)
MODEL_INPUT, VERSION_INPUT = input_name(OWN, MODEL), input_name(OWN, "entity_version")
CHOICES: Mapping[str, Provider] = MappingProxyType({**PROVIDERS, OWN.name: OWN})
"""What a served entity of the form can be, by the value of its input `provider`."""


def choose(values: dict[str, str], model: str) -> None:
    """Takes a model of the dialog into the values of a draft. Empty: another model, whose name is typed afterwards."""
    if model and model != values.get(MODEL_INPUT):
        values[MODEL_INPUT] = model
        values.pop(VERSION_INPUT, None)
    complete(values)


def complete(values: dict[str, str], *, is_other_model: bool = False) -> None:
    """Sets the newest version, and the usual way to size a language model, where the values of a draft lack them. A version that another
    model had is replaced; any other stays as it was typed."""
    found = choices.versions(values.get(MODEL_INPUT, "").strip())
    version = values.get(VERSION_INPUT, "").strip()
    if found.names and (not version or (is_other_model and version not in found.names)):
        values[VERSION_INPUT] = found.names[0]
    if found.task and input_name(OWN, SIZED_BY) not in values:
        values[input_name(OWN, SIZED_BY)] = "throughput"
        values.setdefault(input_name(OWN, "max_provisioned_throughput"), str(found.chunk_size))


def field(each: ConfigField, *, help: str, chunk_size: int) -> forms.CharField | None:
    """The input of a field that no provider has the like of; None for the others."""
    label = translate(each.label)
    if each.name == "environment_vars":
        return textarea(label, optional=True, help=help, spellcheck="false")
    if each.name in NUMBERS:
        step = {"concurrency": CONCURRENCY_STEP, "throughput": chunk_size}.get(
            each.name.rpartition("_")[2], 1
        )
        attrs = {"min": step if each.required else 0, "step": step, "autocomplete": "off"}
        widget = forms.NumberInput(attrs=attrs)
        made = forms.CharField(label=label, required=False, help_text=help, widget=widget)
        return as_optional(made, not each.required)
    if each.name == "entity_version":
        return text_input(label, max_length=each.max_length, help=help, list="version-suggestions")
    return None


def api_fields(model: str, values: Mapping[str, str], shown: list[ConfigField]) -> dict[str, Any]:
    """The fields of a served entity in the API. `values` are those of the block's fields, of which only `shown` ones count."""
    found: dict[str, Any] = {"entity_name": model}
    for each in shown:
        typed = values.get(each.name, each.default or "").strip()
        if each.is_form_only or not typed:
            continue
        if each.name in NUMBERS:
            found[each.name] = number_or_text(typed)
        elif each.name == "environment_vars":
            found[each.name] = _variables(typed)
        elif each.name in SWITCHES:
            found[each.name] = typed == ON
        else:
            found[each.name] = typed
    return found


def _variables(typed: str) -> dict[str, str | None]:
    """By name. A line without = has no value, which validation refuses."""
    found: dict[str, str | None] = {}
    for line in filter(str.strip, typed.splitlines()):
        name, separator, value = line.partition("=")
        found[name.strip()] = _unquoted(value.strip()) if separator else None
    return found


def _unquoted(value: str) -> str:
    """What a JSON string spells, or the value as it was typed."""
    try:
        spelled = json_text.read(value.encode()) if value.startswith('"') else None
    except json_text.JsonInvalid:
        return value
    return spelled if isinstance(spelled, str) else value


def _quoted(value: str) -> str:
    """As it is where a line of the form can express it, otherwise as a JSON string."""
    is_plain = value.splitlines() in ([value], []) and value == value.strip() and not value.startswith('"')
    return value if is_plain else json.dumps(value)


def form_values(model: OwnModel) -> dict[str, str]:
    """The values of the block's fields for a stored model, by field name."""
    numbers = {name: getattr(model, name) for name in NUMBERS}
    ways = {"concurrency": "max_provisioned_concurrency", "throughput": "max_provisioned_throughput"}
    ways["units"] = "provisioned_model_units"
    sized_by = next((way for way, name in ways.items() if numbers[name] is not None), "size")
    lines = (
        f"{name}={value.reference if isinstance(value, Secret) else _quoted(value)}"
        for name, value in model.environment_vars.items()
    )
    return {
        "entity_version": model.entity_version,
        "workload_type": model.workload_type.value,
        SIZED_BY: sized_by,
        **({"workload_size": model.workload_size.value} if model.workload_size else {}),
        **{name: str(value) for name, value in numbers.items() if value is not None},
        **{name: ON if getattr(model, name) else "no" for name in SWITCHES},
        "environment_vars": "\n".join(lines),
    }


def compute_of(model: OwnModel) -> str:
    """Compute type and size of a stored model in words."""
    values = form_values(model)
    return compute_words(values, OWN.config.shown(values))


def compute_words(values: Mapping[str, str], shown: list[ConfigField]) -> str:
    """Compute type and size in words: those of the fields that are shown."""
    words = []
    for each in shown:
        value = values.get(each.name, each.default or "").strip()
        label = dict(each.choices).get(value)
        if each.name in ("workload_type", "workload_size") and label:
            words.append(translate(label))
        elif each.name in _AMOUNTS and value:
            words.append(translate(_AMOUNTS[each.name]) % {"number": value})
        elif each.name == "scale_to_zero_enabled" and value == ON:
            words.append(_gettext("scales to zero"))
    return ", ".join(words)
