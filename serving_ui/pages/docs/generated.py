"""Parts of the documentation that are made from the code: a fenced code block with the language `generated` names one of PARTS."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from serving_ui.catalogue import registry
from serving_ui.catalogue.fields import ConfigField
from serving_ui.catalogue.provider import Provider
from serving_ui.lib import env

_FENCE = re.compile(r"^```generated\n(\w+)\n```$", re.MULTILINE)


def expand(source: str) -> str:
    """The file with each such block replaced by the part that it names."""
    return _FENCE.sub(lambda match: PARTS[match[1]](), source)


def settings_table() -> str:
    """Every setting that the product reads, from the descriptions where they are read."""
    rows = ((f"`{each.name}`", each.default, each.about) for each in env.described())
    return _table(("Name", "Default", "What it does"), rows)


def provider_sections() -> str:
    """Every provider of the catalogue that the form offers."""
    return "\n\n".join(_section(provider) for provider in registry.offered())


def _section(provider: Provider) -> str:
    models = [
        f"- {task.label} (`{task}`): {_listed(provider.models[task]) or 'any model of the host'}"
        for task in provider.tasks
    ]
    fields = _table(
        ("Field", "Name in the API", "What it is"),
        ((str(each.label), _path(each), _about(each)) for each in provider.config.fields()),
    )
    return "\n".join(
        (
            f"## {provider.label}",
            "",
            f"`provider` is `{provider.name}`, and the fields are in `{provider.config_key}`.",
            "",
            "Tasks and suggested models:",
            "",
            *models,
            "",
            fields if provider.config.fields() else "It has no fields.",
        )
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _path(field: ConfigField) -> str:
    return f"`{'.'.join(field.path)}`" if field.path else "choice of the form only"


def _about(field: ConfigField) -> str:
    parts = [
        "Secret." if field.kind == "secret" else "",
        "Required." if field.required else "",
        str(field.help),
        f"One of {_listed(value for value, _label in field.choices)}." if field.choices else "",
        f"For example `{field.placeholder}`." if field.placeholder and field.kind != "secret" else "",
        f"Shown when {_condition(field.shown_when)}." if field.shown_when else "",
        f"Required when {_condition(field.required_when)}." if field.required_when else "",
    ]
    return " ".join(part for part in parts if part)


def _condition(condition: tuple[str, frozenset[str]]) -> str:
    name, values = condition
    return f"`{name}` is {' or '.join(f'`{value}`' for value in sorted(values))}"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *(tuple(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PARTS: Mapping[str, Callable[[], str]] = {"settings": settings_table, "providers": provider_sections}
