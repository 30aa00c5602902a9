"""The state of an endpoint's form between requests: all values typed so far, for every provider.

A pasted key is sent back to the browser encrypted only (hidden input `<name>__kept`). Values are not validated here; `body` builds
the request that the catalogue validates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from serving_ui.accounts.models import User
from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.fields import ConfigField
from serving_ui.catalogue.limit_kinds import LIMIT_KEYS
from serving_ui.catalogue.own_model import OwnModel
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.served_entity import ServedEntity
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.pages.forms import own_model, rate_limits, settings
from serving_ui.pages.forms.entities import ORIGIN, TRAFFIC, Entities
from serving_ui.pages.forms.inputs import MODEL, input_name
from serving_ui.vault import drafts

ENCRYPTED_SUFFIX = "__kept"
"""Of the hidden input that carries a pasted key, encrypted, from one rendering of the form to the next."""
PLAIN_INPUTS = (
    "name",
    "description",
    "provider",
    "task",
    "served_entity_name",
    *(rate_limits.own_input(name) for name, key in LIMIT_KEYS.items() if key.own_input),
    *settings.INPUT_NAMES,
    "fallback",
    ORIGIN,
)
COMMON_ENTITY_INPUTS = ("provider", "task", "served_entity_name", ORIGIN, TRAFFIC)
TAG = re.compile(r"tags-(\d{1,4})-key")
MAX_TAGS = 50


@cache
def secret_inputs() -> frozenset[str]:
    """The inputs of every provider's secrets."""
    return frozenset(
        input_name(provider, each.name)
        for provider in own_model.CHOICES.values()
        for each in provider.config.fields()
        if each.kind == "secret"
    )


@cache
def provider_inputs() -> tuple[str, ...]:
    """The inputs of all providers, in the order of the catalogue."""
    return tuple(
        input_name(provider, name)
        for provider in own_model.CHOICES.values()
        for name in ("task", MODEL, *(each.name for each in provider.config.fields()))
    )


@cache
def entity_inputs() -> frozenset[str]:
    """The inputs of one served entity, encrypted keys included."""
    return frozenset(
        (*COMMON_ENTITY_INPUTS, *provider_inputs(), *(name + ENCRYPTED_SUFFIX for name in secret_inputs()))
    )


@dataclass
class Draft:
    """Values by input name, and the rows of tags and limits. `user_id` is part of what pasted keys are encrypted for."""

    user_id: str
    values: dict[str, str] = field(default_factory=dict)
    tags: list[tuple[str, str]] = field(default_factory=list)
    limits: list[rate_limits.LimitRow] = field(default_factory=list)
    added_limit: bool = False
    stored_by_entity: Mapping[str, Mapping[str, Secret]] = field(default_factory=dict)
    """Stored secrets of the edited config, by entity index and input name. An empty input leaves such a secret unchanged."""
    entities: Entities = field(default_factory=Entities)

    @classmethod
    def from_form(
        cls,
        post: Mapping[str, str],
        actor: User,
        stored_by_entity: Mapping[str, Mapping[str, Secret]] | None = None,
    ) -> Draft:
        """The draft in a submitted form. Pasted keys are encrypted at once."""
        draft = cls(user_id=actor.pk, stored_by_entity=stored_by_entity or {})
        draft.entities = Entities.from_form(post, entity_inputs())
        draft.values = {name: post[name] for name in (*PLAIN_INPUTS, *provider_inputs()) if post.get(name)}
        if stored_by_entity and ORIGIN not in post:  # sent without the form, for an endpoint with one entity
            draft.values[ORIGIN] = min(stored_by_entity)
        if traffic := post.get(f"{TRAFFIC}-{draft.entities.open_index}"):
            draft.values[TRAFFIC] = traffic
        for name in secret_inputs():
            if pasted := post.get(name + PLAINTEXT_SUFFIX, "").strip():
                draft.values[name + ENCRYPTED_SUFFIX] = drafts.encrypt(pasted, purpose=draft.purpose(name))
            elif encrypted := post.get(name + ENCRYPTED_SUFFIX):
                draft.values[name + ENCRYPTED_SUFFIX] = encrypted
        rows = sorted(int(found[1]) for found in map(TAG.fullmatch, post) if found)
        draft.tags = [(post.get(f"tags-{row}-key", ""), post.get(f"tags-{row}-value", "")) for row in rows]
        draft.limits = rate_limits.submitted_limits(post)
        return draft.with_valid_task()

    @classmethod
    def from_endpoint(cls, endpoint: Endpoint, version: ConfigVersion | None, actor: User) -> Draft:
        """The endpoint as the edit form shows it. Secrets appear as references only, never as values."""
        first, *others = _entity_answers(version) if version else [{}]
        draft = cls(user_id=actor.pk, stored_by_entity=stored_secrets(version), entities=Entities(others))
        simple, draft.limits = rate_limits.limits_of(endpoint)
        draft.values = {
            "name": endpoint.name,
            "description": endpoint.description,
            **first,
            **simple,
            **settings.values_of(endpoint),
        }
        if endpoint.ai_gateway.get("fallback_config", {}).get("enabled"):
            draft.values["fallback"] = "1"
        draft.tags = [(tag["key"], tag["value"]) for tag in endpoint.tags]
        return draft

    def purpose(self, name: str) -> str:
        """The purpose that a pasted key is encrypted for: this person and this input."""
        return f"{self.user_id}:{name}"

    @property
    def stored(self) -> Mapping[str, Secret]:
        """The stored secrets of the open entity, by input name."""
        return self.stored_by_entity.get(self.values.get(ORIGIN, ""), {})

    @property
    def open_values(self) -> dict[str, str]:
        """The values of the open entity (the one with inputs, see `entities`), by input name."""
        return {name: text for name, text in self.values.items() if name in entity_inputs()}

    def each_entity(self) -> list[Draft]:
        """One draft per served entity, with that entity open."""
        return [
            self
            if index == self.entities.open_index
            else Draft(
                user_id=self.user_id, values=answers, stored_by_entity=self.stored_by_entity
            ).with_valid_task()
            for index, answers in enumerate(self.entities.all_in_order({}))
        ]

    def show_entity(self, answers: Mapping[str, str]) -> None:
        """Replaces the values of the open entity by those of another one, which `entities` returned."""
        for name in self.open_values:
            del self.values[name]
        self.values |= answers
        self.with_valid_task()

    @property
    def provider(self) -> Provider | None:
        return own_model.CHOICES.get(self.values.get("provider", ""))

    @property
    def task(self) -> Task:
        """The chosen task. Valid for the provider, because `with_valid_task` has run."""
        return Task(self.values["task"])

    def config_values(self, provider: Provider) -> dict[str, str]:
        """The values of a provider's fields, by the catalogue's field names."""
        return {
            each.name: self.values[name]
            for each in provider.config.fields()
            if (name := input_name(provider, each.name)) in self.values
        }

    def shown(self, provider: Provider) -> list[ConfigField]:
        """The provider's fields that are shown for the current values (`shown_when`)."""
        return provider.config.shown(self.config_values(provider))

    def hidden_answers(self, visible: set[str]) -> Iterator[tuple[str, str]]:
        """Values without a visible input, which hidden inputs preserve across redraws."""
        for name in provider_inputs():
            if name in self.values and name not in visible and not self.is_misplaced(name):
                yield name, self.values[name]
            if name + ENCRYPTED_SUFFIX in self.values and name not in visible:
                yield name + ENCRYPTED_SUFFIX, self.values[name + ENCRYPTED_SUFFIX]

    def is_misplaced(self, name: str) -> bool:
        """Whether a secret's value was typed into the input for a reference. Validation refuses it, and no page echoes it."""
        return name in secret_inputs() and "{{" not in self.values.get(name, "{{")

    def with_valid_task(self) -> Draft:
        """Sets the provider's first task if the current one is not a task of the provider; an own model has none to choose. Returns the draft
        itself."""
        tasks = self.provider.tasks if self.provider else ()
        if tasks and self.values.get("task") not in tasks:
            self.values["task"] = tasks[0].value
        return self

    def choose(self, name: str) -> None:
        """Switches the provider, or to a model of one's own (`own-model:NAME`), and restores the task chosen for it earlier. Its other values were preserved by hidden inputs."""
        name, _separator, model = name.partition(":")
        chosen = own_model.CHOICES.get(name)
        if chosen is None:
            return
        if self.provider and self.provider.tasks:
            self.values[input_name(self.provider, "task")] = self.values["task"]
        self.values["provider"] = name
        earlier = self.values.pop(input_name(chosen, "task"), None)
        if earlier:
            self.values["task"] = earlier
        if chosen is own_model.OWN:
            own_model.choose(self.values, model)
        self.with_valid_task()

    def choose_own(self, model: str, version: str) -> None:
        """Switches to a version of a model of one's own; to its newest one if `version` is empty."""
        self.values[own_model.VERSION_INPUT] = version
        self.values |= {"provider": own_model.OWN.name, own_model.MODEL_INPUT: model}
        own_model.complete(self.values)

    def complete_model(self, *, is_other_model: bool) -> None:
        """Sets what follows from the name of a model of one's own: its newest version, and how it is usually sized."""
        if self.provider is own_model.OWN:
            own_model.complete(self.values, is_other_model=is_other_model)

    def discard_key(self, name: str) -> None:
        """Discards a pasted key."""
        self.values.pop(name + ENCRYPTED_SUFFIX, None)


def _entity_answers(version: ConfigVersion) -> list[dict[str, str]]:
    shares = {r.served_entity_name: r.traffic_percentage for r in version.config.traffic_config.routes}
    return [
        _answers(entity, origin, shares.get(entity.name, 0))
        for origin, entity in enumerate(version.config.served_entities)
    ]


def _answers(entity: ServedEntity, origin: int, share: int) -> dict[str, str]:
    """The values of one entity of a stored config, by input name, without secret values."""
    if entity.own_model:
        return _own_answers(entity, entity.own_model, origin, share)
    model, provider = entity.external, entity.external.provider_entry
    values = {
        "provider": model.provider,
        "task": model.task.value,
        "served_entity_name": "" if entity.name == entity.default_name else entity.name,
        input_name(provider, MODEL): model.name,
        ORIGIN: str(origin),
        TRAFFIC: str(share),
    }
    for name, value in model.config.flat().items():
        text = value.reference if isinstance(value, Secret) and value.kind == "reference" else value
        if isinstance(text, str):
            values[input_name(provider, name)] = text
    return values


def _own_answers(entity: ServedEntity, model: OwnModel, origin: int, share: int) -> dict[str, str]:
    own = own_model.OWN
    return {
        "provider": own.name,
        "served_entity_name": "" if entity.name == entity.default_name else entity.name,
        input_name(own, MODEL): model.entity_name,
        ORIGIN: str(origin),
        TRAFFIC: str(share),
        **{input_name(own, name): value for name, value in own_model.form_values(model).items()},
    }


def stored_secrets(version: ConfigVersion | None) -> dict[str, dict[str, Secret]]:
    """The pasted secrets of a stored config, by entity index and input name."""
    if version is None:
        return {}
    return {
        str(origin): {
            input_name(entity.external.provider_entry, name): value
            for name, value in entity.external.config.flat().items()
            if isinstance(value, Secret) and value.kind == "stored"
        }
        for origin, entity in enumerate(version.config.served_entities)
        if entity.external_model
    }
