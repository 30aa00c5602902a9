"""Converts a draft to the body of an API request, so that pages and API share their validation.

Each path of the body is mapped to the input that it came from, to show a validation problem beside that input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.limit_kinds import LIMIT_KEYS, RENEWAL_PERIOD
from serving_ui.catalogue.names import default_entity_name
from serving_ui.catalogue.problems import Path, Problem, SpecErrors
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.translatable import TranslatableText
from serving_ui.pages.forms import own_model, rate_limits, settings
from serving_ui.pages.forms.draft import ENCRYPTED_SUFFIX, Draft
from serving_ui.pages.forms.entities import TRAFFIC
from serving_ui.pages.forms.inputs import MODEL, input_name
from serving_ui.pages.translation import translate
from serving_ui.vault import drafts


@dataclass
class ApiBody:
    """A request body of the API, and the input name of each of its paths."""

    config: dict[str, Any]
    name: str = ""
    description: str = ""
    rate_limits: list[dict[str, Any]] = field(default_factory=list)
    gateway_limits: list[dict[str, Any]] = field(default_factory=list)
    """The rate limits in `ai_gateway`."""
    tags: list[dict[str, str]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    """The settings of `forms.settings`."""
    fallback: bool = False
    inputs: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    """Problems that only a form can have: a pasted key whose encrypted copy has expired."""

    def create_request(self) -> dict[str, Any]:
        """The body that creates an endpoint."""
        gateway = {
            **({"fallback_config": {"enabled": True}} if self.fallback else {}),
            **({"rate_limits": self.gateway_limits} if self.gateway_limits else {}),
        }
        return {
            "name": self.name,
            "description": self.description,
            "config": self.config,
            "rate_limits": self.rate_limits,
            "tags": self.tags,
            **self.settings,
            **({"ai_gateway": gateway} if gateway else {}),
        }

    def by_input(self, errors: SpecErrors) -> list[tuple[str | None, str]]:
        """(input name, sentence) of each problem; the name is None for a problem of no single input."""
        with_expired_key = {self.input_of(problem.path) for problem in self.problems}
        others = [
            problem for problem in errors.problems if self.input_of(problem.path) not in with_expired_key
        ]
        found = [
            (self.input_of(problem.path), translate(problem.message)) for problem in (*self.problems, *others)
        ]
        if any(
            name == "provider" for name, _sentence in found
        ):  # other problems of the entity are consequences
            found = [each for each in found if each[0] not in (None, "task")]
        return list(dict.fromkeys(found))

    def input_of(self, path: Path) -> str | None:
        """The input at a path, or at the nearest path above it."""
        path = path[1:] if path[:1] == ("config",) else path
        return next((name for end in range(len(path), 0, -1) if (name := self.inputs.get(path[:end]))), None)


def body_of(draft: Draft) -> ApiBody:
    """The draft as a request body."""
    body = ApiBody(config={"served_entities": []})
    body.name = draft.values.get("name", "").strip()
    body.description = draft.values.get("description", "").strip()
    body.fallback = "fallback" in draft.values
    body.inputs = {("name",): "name", ("description",): "description"}
    for index, each in enumerate(draft.each_entity()):
        _add_entity(body, each, index, is_open=index == draft.entities.open_index)
    _add_traffic(body, draft)
    _add_limits(body, draft)
    _add_tags(body, draft)
    for setting in settings.SETTINGS:
        body.settings[setting.name] = setting.typed(draft.values)
        body.inputs |= setting.paths()
    return body


def _add_entity(body: ApiBody, draft: Draft, index: int, *, is_open: bool) -> None:
    at: Path = ("served_entities", index)
    if draft.provider is own_model.OWN:
        _add_own_entity(body, draft, at, is_open=is_open)
        return
    external = _external(draft)
    typed = draft.values.get("served_entity_name", "").strip()
    # An empty name is left out: the default comes from the model name, and a missing model is a problem of its own.
    body.config["served_entities"].append({**({"name": typed} if typed else {}), "external_model": external})
    if not is_open:
        body.inputs[at] = f"{TRAFFIC}-{index}"  # problems of an entity that is not open are shown in its row
    else:
        body.inputs[*at, "name"] = "served_entity_name"
        for name in ("provider", "task"):
            body.inputs[*at, "external_model", name] = name
    if draft.provider:
        _add_config(body, draft, draft.provider, external, (*at, "external_model"), is_open=is_open)


def _add_own_entity(body: ApiBody, draft: Draft, at: Path, *, is_open: bool) -> None:
    own, name = own_model.OWN, draft.values.get("served_entity_name", "").strip()
    model = draft.values.get(input_name(own, MODEL), "").strip()
    fields = own_model.api_fields(model, draft.config_values(own), draft.shown(own))
    body.config["served_entities"].append({**({"name": name} if name else {}), **fields})
    if not is_open:
        body.inputs[at] = f"{TRAFFIC}-{at[-1]}"
        return
    body.inputs |= {(*at, each.name): input_name(own, each.name) for each in draft.shown(own)}
    body.inputs |= {(*at, "name"): "served_entity_name", (*at, "entity_name"): input_name(own, MODEL)}


def _external(draft: Draft) -> dict[str, Any]:
    return {name: draft.values[name] for name in ("provider", "task") if name in draft.values}


def _add_config(
    body: ApiBody, draft: Draft, provider: Provider, external: dict[str, Any], at: Path, *, is_open: bool
) -> None:
    inputs: dict[Path, str] = {}
    external["name"] = draft.values.get(input_name(provider, MODEL), "")
    inputs[*at, "name"] = input_name(provider, MODEL)
    answers: dict[str, object] = dict(draft.config_values(provider))
    pasted: dict[Path, str] = {}
    for each in draft.shown(provider):
        name, path = input_name(provider, each.name), (*at, provider.config_key, *each.path)
        inputs[path] = name
        if each.kind == "secret":
            inputs[(*path[:-1], f"{path[-1]}{PLAINTEXT_SUFFIX}")] = name
            _take_secret(body, draft, name, path, pasted)
            if (
                name not in draft.values
                and name + ENCRYPTED_SUFFIX not in draft.values
                and name in draft.stored
            ):
                answers[each.name] = draft.stored[name]
    block = provider.config.nested(answers)
    for path, value in pasted.items():
        _put(block, path[len(at) + 1 :], value)
    external[provider.config_key] = block
    if is_open:
        body.inputs |= inputs


def _add_traffic(body: ApiBody, draft: Draft) -> None:
    entities = body.config["served_entities"]
    if len(entities) < 2:
        return
    routes = []
    for index, (each, entity) in enumerate(zip(draft.each_entity(), entities, strict=True)):
        name = entity.get("name") or _default_name(entity)
        share = rate_limits.number_or_text(each.values.get(TRAFFIC, "").strip() or "0")
        routes.append({"served_entity_name": name, "traffic_percentage": share})
        body.inputs["traffic_config", "routes", index] = f"{TRAFFIC}-{index}"
    body.config["traffic_config"] = {"routes": routes}
    body.inputs["traffic_config",] = f"{TRAFFIC}-0"


def _default_name(entity: dict[str, Any]) -> str:
    """The name that the catalogue gives a served entity without one."""
    if "entity_name" in entity:
        return default_entity_name(f"{entity['entity_name']}-{entity.get('entity_version', '')}")
    return default_entity_name(entity["external_model"].get("name", ""))


def _take_secret(body: ApiBody, draft: Draft, name: str, path: Path, pasted: dict[Path, str]) -> None:
    if name + ENCRYPTED_SUFFIX not in draft.values:
        return
    try:
        pasted[path] = drafts.decrypt(draft.values[name + ENCRYPTED_SUFFIX], purpose=draft.purpose(name))
    except drafts.DraftInvalid:
        draft.discard_key(name)
        body.problems.append(
            Problem(
                path,
                TranslatableText(_("The pasted key was kept for an hour only. Paste it again.")),
                "draft",
            )
        )


def _put(block: dict[str, Any], path: Path, value: str) -> None:
    for part in path[:-1]:
        block = block.setdefault(str(part), {})
    block[f"{path[-1]}{PLAINTEXT_SUFFIX}"] = value


def _add_limits(body: ApiBody, draft: Draft) -> None:
    for key, kind in LIMIT_KEYS.items():
        name = rate_limits.own_input(key)
        typed = draft.values.get(name, "").strip()
        if kind.own_input and typed:
            body.inputs["rate_limits", len(body.rate_limits)] = name
            body.rate_limits.append(
                {"key": key, "calls": rate_limits.number_or_text(typed), "renewal_period": RENEWAL_PERIOD}
            )
    for number, row in enumerate(draft.limits):
        if not row.is_empty:
            limits, above = (body.gateway_limits, (row.place,)) if row.place else (body.rate_limits, ())
            path: Path = (*above, "rate_limits", len(limits))
            body.inputs[path] = f"limits-{number}-calls"
            for part in rate_limits.PARTS:
                body.inputs[*path, part] = f"limits-{number}-{part}"
            limits.append(row.body())


def _add_tags(body: ApiBody, draft: Draft) -> None:
    for row, (key, value) in enumerate(draft.tags):
        if key.strip() or value.strip():
            path: Path = ("tags", len(body.tags))
            body.inputs[path] = body.inputs[(*path, "key")] = f"tags-{row}-key"
            body.inputs[(*path, "value")] = f"tags-{row}-value"
            body.tags.append({"key": key, "value": value})
