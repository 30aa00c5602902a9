"""A draft in the shape of the API, so that pages and API are checked by the same code, and the way back:
which input a problem's path belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from serving_ui.catalogue.problems import Path, Problem, SpecErrors
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.reading import TWIN
from serving_ui.catalogue.text import Text
from serving_ui.pages.forms.draft import KEPT, MODEL, Draft, input_name
from serving_ui.pages.words import said
from serving_ui.vault import drafts

ENTITY: Path = ("served_entities", 0)
EXTERNAL: Path = (*ENTITY, "external_model")


@dataclass
class Body:
    """An API body and the input that each of its paths came from."""

    config: dict[str, Any]
    name: str = ""
    description: str = ""
    rate_limits: list[dict[str, Any]] = field(default_factory=list)
    tags: list[dict[str, str]] = field(default_factory=list)
    inputs: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    """What only the form can be wrong about, such as a pasted key that was kept too long."""

    def whole(self) -> dict[str, Any]:
        """The body that creates an endpoint."""
        return {
            "name": self.name,
            "description": self.description,
            "config": self.config,
            "rate_limits": self.rate_limits,
            "tags": self.tags,
        }

    def by_input(self, errors: SpecErrors) -> list[tuple[str | None, str]]:
        """(input, sentence) of each problem; None where no input is to blame."""
        late = {self.input_of(problem.path) for problem in self.problems}
        others = [problem for problem in errors.problems if self.input_of(problem.path) not in late]
        found = [
            (self.input_of(problem.path), said(problem.message)) for problem in (*self.problems, *others)
        ]
        if any(name == "provider" for name, _sentence in found):  # all else about the entity follows from it
            found = [each for each in found if each[0] not in (None, "task")]
        return list(dict.fromkeys(found))

    def input_of(self, path: Path) -> str | None:
        """The input at a path, or at the nearest path above it."""
        path = path[1:] if path[:1] == ("config",) else path
        return next((name for end in range(len(path), 0, -1) if (name := self.inputs.get(path[:end]))), None)


def body_of(draft: Draft) -> Body:
    """Everything typed, in the shape of the API."""
    body = Body(config={"served_entities": [_entity(draft)]})
    body.name = draft.values.get("name", "").strip()
    body.description = draft.values.get("description", "").strip()
    body.inputs = {
        ("name",): "name",
        ("description",): "description",
        (*ENTITY, "name"): "served_entity_name",
        (*EXTERNAL, "provider"): "provider",
        (*EXTERNAL, "task"): "task",
    }
    if draft.provider:
        _add_config(body, draft, draft.provider)
    _add_limits(body, draft)
    _add_tags(body, draft)
    return body


def _entity(draft: Draft) -> dict[str, Any]:
    names = ("provider", "task")
    external: dict[str, Any] = {name: draft.values[name] for name in names if name in draft.values}
    typed = draft.values.get("served_entity_name", "").strip()
    # Left out when empty: without a model there is nothing to name it after, and that is said beside the model.
    return {**({"name": typed} if typed else {}), "external_model": external}


def _add_config(body: Body, draft: Draft, provider: Provider) -> None:
    external = body.config["served_entities"][0]["external_model"]
    external["name"] = draft.values.get(input_name(provider, MODEL), "")
    body.inputs[(*EXTERNAL, "name")] = input_name(provider, MODEL)
    answers: dict[str, object] = dict(draft.config_values(provider))
    pasted: dict[Path, str] = {}
    for each in draft.shown(provider):
        name, path = input_name(provider, each.name), (*EXTERNAL, provider.config_key, *each.path)
        body.inputs[path] = name
        if each.kind == "secret":
            body.inputs[(*path[:-1], f"{path[-1]}{TWIN}")] = name
            _take_secret(body, draft, name, path, pasted)
            if name not in draft.values and name + KEPT not in draft.values and name in draft.stored:
                answers[each.name] = draft.stored[name]
    block = provider.config.nested(answers)
    for path, value in pasted.items():
        _put(block, path[len(EXTERNAL) + 1 :], value)
    external[provider.config_key] = block


def _take_secret(body: Body, draft: Draft, name: str, path: Path, pasted: dict[Path, str]) -> None:
    if name + KEPT not in draft.values:
        return
    try:
        pasted[path] = drafts.unseal(draft.values[name + KEPT], purpose=draft.purpose(name))
    except drafts.DraftInvalid:
        draft.forget(name)
        body.problems.append(
            Problem(path, Text(_("The pasted key was kept for an hour only. Paste it again.")), "draft")
        )


def _put(block: dict[str, Any], path: Path, value: str) -> None:
    for part in path[:-1]:
        block = block.setdefault(str(part), {})
    block[f"{path[-1]}{TWIN}"] = value


def _add_limits(body: Body, draft: Draft) -> None:
    for key in ("endpoint", "user"):
        name = f"rate_limit_{key}"
        typed = draft.values.get(name, "").strip()
        if typed:
            body.inputs[("rate_limits", len(body.rate_limits))] = name
            calls = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 12 else typed
            body.rate_limits.append({"key": key, "calls": calls, "renewal_period": "minute"})


def _add_tags(body: Body, draft: Draft) -> None:
    for row, (key, value) in enumerate(draft.tags):
        if key.strip() or value.strip():
            place: Path = ("tags", len(body.tags))
            body.inputs[place] = body.inputs[(*place, "key")] = f"tags-{row}-key"
            body.inputs[(*place, "value")] = f"tags-{row}-value"
            body.tags.append({"key": key, "value": value})
