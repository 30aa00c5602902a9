"""What has been typed into an endpoint's form so far, whichever provider it was typed for.

A pasted key is held sealed only (`<name>__kept`), so that no redraw can echo it. Nothing is judged here: see `body`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from serving_ui.accounts.models import User
from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.endpoint_config import ServedEntity
from serving_ui.catalogue.fields import ConfigField
from serving_ui.catalogue.limit_kinds import LIMIT_KEYS
from serving_ui.catalogue.names import default_entity_name
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.endpoints.models import ConfigVersion, Endpoint
from serving_ui.pages.forms import governing
from serving_ui.pages.forms.entities import ORIGIN, TRAFFIC, Entities
from serving_ui.vault import drafts

KEPT = "__kept"
MODEL = "external_model_name"
PLAIN = (
    "name",
    "description",
    "provider",
    "task",
    "served_entity_name",
    *(governing.own_input(name) for name, key in LIMIT_KEYS.items() if key.own_input),
    *(f"timeout_{name}" for name in governing.TIMEOUTS),
    "fallback",
    ORIGIN,
)
OF_AN_ENTITY = ("provider", "task", "served_entity_name", ORIGIN, TRAFFIC)
TAG = re.compile(r"tags-(\d{1,4})-key")
MOST_TAGS = 50


def input_name(provider: Provider, name: str) -> str:
    """The form's name of a provider's field: unique, so that no vendor's key can slip into another vendor's field."""
    return f"{provider.name}__{name}"


@cache
def secret_inputs() -> frozenset[str]:
    """The inputs of every provider's secrets."""
    return frozenset(
        input_name(provider, each.name)
        for provider in PROVIDERS.values()
        for each in provider.config.fields()
        if each.kind == "secret"
    )


@cache
def provider_inputs() -> tuple[str, ...]:
    """Every input that belongs to one provider, in the order of the catalogue."""
    return tuple(
        input_name(provider, name)
        for provider in PROVIDERS.values()
        for name in ("task", MODEL, *(each.name for each in provider.config.fields()))
    )


@cache
def entity_inputs() -> frozenset[str]:
    """Everything that belongs to one served entity, sealed keys included."""
    return frozenset((*OF_AN_ENTITY, *provider_inputs(), *(name + KEPT for name in secret_inputs())))


@dataclass
class Draft:
    """The answers by input name, and the rows of tags and limits. Belongs to the person whose id seals its keys."""

    user_id: str
    values: dict[str, str] = field(default_factory=dict)
    tags: list[tuple[str, str]] = field(default_factory=list)
    limits: list[governing.LimitRow] = field(default_factory=list)
    added_limit: bool = False
    kept: Mapping[str, Mapping[str, Secret]] = field(default_factory=dict)
    """Secrets kept with the endpoint's config, by entity and input name. On an edit, empty means: keep."""
    entities: Entities = field(default_factory=Entities)

    @classmethod
    def typed(
        cls, post: Mapping[str, str], actor: User, kept: Mapping[str, Mapping[str, Secret]] | None = None
    ) -> Draft:
        """What the browser sent; pasted keys are sealed at once."""
        draft = cls(user_id=actor.pk, kept=kept or {})
        draft.entities = Entities.typed(post, entity_inputs())
        draft.values = {name: post[name] for name in (*PLAIN, *provider_inputs()) if post.get(name)}
        if kept and ORIGIN not in post:  # sent by a program that knows of one entity
            draft.values[ORIGIN] = min(kept)
        if traffic := post.get(f"{TRAFFIC}-{draft.entities.at}"):
            draft.values[TRAFFIC] = traffic
        for name in secret_inputs():
            if pasted := post.get(name + PLAINTEXT_SUFFIX, "").strip():
                draft.values[name + KEPT] = drafts.seal(pasted, purpose=draft.purpose(name))
            elif sealed := post.get(name + KEPT):
                draft.values[name + KEPT] = sealed
        rows = sorted(int(found[1]) for found in map(TAG.fullmatch, post) if found)
        draft.tags = [(post.get(f"tags-{row}-key", ""), post.get(f"tags-{row}-value", "")) for row in rows]
        draft.limits = governing.typed_limits(post)
        return draft.settled()

    @classmethod
    def of(cls, endpoint: Endpoint, version: ConfigVersion, actor: User) -> Draft:
        """What is in force, for editing; stored secrets are only named."""
        shares = {r.served_entity_name: r.traffic_percentage for r in version.config.traffic_config.routes}
        first, *others = (
            _answers(entity, origin, shares.get(entity.name, 0))
            for origin, entity in enumerate(version.config.served_entities)
        )
        draft = cls(user_id=actor.pk, kept=stored_secrets(version), entities=Entities(others))
        simple, draft.limits = governing.limits_of(endpoint)
        draft.values = {
            "name": endpoint.name,
            "description": endpoint.description,
            **first,
            **simple,
            **governing.timeouts_of(endpoint),
        }
        if endpoint.ai_gateway.get("fallback_config", {}).get("enabled"):
            draft.values["fallback"] = "1"
        draft.tags = [(tag["key"], tag["value"]) for tag in endpoint.tags]
        return draft

    def purpose(self, name: str) -> str:
        """What a sealed key is bound to: the person and the field."""
        return f"{self.user_id}:{name}"

    @property
    def stored(self) -> Mapping[str, Secret]:
        """The kept secrets of the entity that is open."""
        return self.kept.get(self.values.get(ORIGIN, ""), {})

    @property
    def opened(self) -> dict[str, str]:
        """The answers for the entity that is open."""
        return {name: text for name, text in self.values.items() if name in entity_inputs()}

    def each_entity(self) -> list[Draft]:
        """For every served entity a draft in which it is open."""
        return [
            self
            if place == self.entities.at
            else Draft(user_id=self.user_id, values=answers, kept=self.kept).settled()
            for place, answers in enumerate(self.entities.around({}))
        ]

    def show_entity(self, answers: Mapping[str, str]) -> None:
        """Opens an entity that `entities` has given."""
        for name in self.opened:
            del self.values[name]
        self.values |= answers
        self.settled()

    @property
    def provider(self) -> Provider | None:
        return PROVIDERS.get(self.values.get("provider", ""))

    @property
    def task(self) -> Task:
        """The chosen task; `settled` has seen to it that the provider has it."""
        return Task(self.values["task"])

    def config_values(self, provider: Provider) -> dict[str, str]:
        """The answers to a provider's fields, by the catalogue's names."""
        return {
            each.name: self.values[name]
            for each in provider.config.fields()
            if (name := input_name(provider, each.name)) in self.values
        }

    def shown(self, provider: Provider) -> list[ConfigField]:
        """The provider's fields that these answers call for."""
        return provider.config.shown(self.config_values(provider))

    def carried(self, visible: set[str]) -> Iterator[tuple[str, str]]:
        """Answers that have no visible input now and shall survive nevertheless."""
        for name in provider_inputs():
            if name in self.values and name not in visible and not self.is_misplaced(name):
                yield name, self.values[name]
            if name + KEPT in self.values and name not in visible:
                yield name + KEPT, self.values[name + KEPT]

    def is_misplaced(self, name: str) -> bool:
        """Whether a key was typed where only a reference to one belongs. It is refused, and no page shows it again."""
        return name in secret_inputs() and "{{" not in self.values.get(name, "{{")

    def settled(self) -> Draft:
        """Replaces a leftover task that the provider lacks by its first one."""
        if self.provider and self.values.get("task") not in self.provider.tasks:
            self.values["task"] = self.provider.tasks[0].value
        return self

    def choose(self, name: str) -> None:
        """Switches the provider. Its earlier task comes back, and so do all other answers for it."""
        chosen = PROVIDERS.get(name)
        if chosen is None:
            return
        if self.provider:
            self.values[input_name(self.provider, "task")] = self.values["task"]
        self.values["provider"] = name
        earlier = self.values.pop(input_name(chosen, "task"), None)
        if earlier:
            self.values["task"] = earlier
        self.settled()

    def forget(self, name: str) -> None:
        """Drops a pasted key."""
        self.values.pop(name + KEPT, None)


def _answers(entity: ServedEntity, origin: int, share: int) -> dict[str, str]:
    """What is in force for one entity, by input name; stored secrets are only named."""
    model, provider = entity.external_model, entity.external_model.provider_entry
    values = {
        "provider": model.provider,
        "task": model.task.value,
        "served_entity_name": "" if entity.name == default_entity_name(model.name) else entity.name,
        input_name(provider, MODEL): model.name,
        ORIGIN: str(origin),
        TRAFFIC: str(share),
    }
    for name, value in model.config.flat().items():
        text = value.reference if isinstance(value, Secret) and value.kind == "reference" else value
        if isinstance(text, str):
            values[input_name(provider, name)] = text
    return values


def stored_secrets(version: ConfigVersion) -> dict[str, dict[str, Secret]]:
    """The secrets pasted into a config earlier, by the place of the entity and by input name."""
    return {
        str(origin): {
            input_name(entity.external_model.provider_entry, name): value
            for name, value in entity.external_model.config.flat().items()
            if isinstance(value, Secret) and value.kind == "stored"
        }
        for origin, entity in enumerate(version.config.served_entities)
    }
