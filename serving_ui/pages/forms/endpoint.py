"""The Django form of an endpoint, with fields made from the catalogue. It renders a draft and validates nothing.

A redraw uses an unbound form, which has no errors; after a refused submission `add_problems` puts each problem beside its input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.fields import ConfigField
from serving_ui.catalogue.limit_kinds import LIMIT_KEYS
from serving_ui.catalogue.names import MAX_MODEL_NAME_LENGTH, MAX_NAME_LENGTH
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.registry import offered
from serving_ui.endpoints import cluster
from serving_ui.pages.forms import own_model, rows, settings
from serving_ui.pages.forms.draft import ENCRYPTED_SUFFIX, Draft
from serving_ui.pages.forms.inputs import MODEL, as_optional, input_name, text_input, textarea
from serving_ui.pages.forms.rate_limits import own_input
from serving_ui.pages.translation import translate
from serving_ui.registered_models import choices as models

MAX_OFFERED = 30  # models of one's own in the dialog; others are typed


@dataclass(frozen=True)
class Row:
    """One field of the provider's configuration. `paste` is the second input of a secret, for its value."""

    field: forms.BoundField
    paste: forms.BoundField | None = None
    is_pasted: bool = False
    is_stored: bool = False
    redraws: bool = False
    is_minor: bool = False
    """Whether it is folded until somebody opens it."""


@dataclass(frozen=True)
class TagRow:
    """The two inputs of a tag."""

    number: int
    key: forms.BoundField
    value: forms.BoundField


@dataclass(frozen=True)
class ListedProblem:
    """A problem in the list at the top of the page, which links to the id `target`."""

    target: str
    label: str
    message: str


class EndpointForm(forms.Form):
    """All inputs for one draft. `fields_url` is the URL that redraws the fields depending on a choice, `kind` that of the endpoint."""

    def __init__(
        self,
        draft: Draft,
        *,
        fields_url: str,
        editing: bool = False,
        references: Iterable[str] = (),
        may_be_several: bool = False,
        kind: str = "",
    ) -> None:
        values = {**draft.values, **_tag_values(draft), **rows.values(draft)}
        super().__init__(initial=values)
        self.draft, self.editing, self.fields_url = draft, editing, fields_url
        self.references, self.kind = list(references), kind
        self.may_be_several = may_be_several or draft.entities.count > 1 or self.is_own
        self.general_problems: list[str] = []
        self.shown_fields = draft.shown(draft.provider) if draft.provider else []
        self._add_general()
        if draft.provider:
            self._add_model(draft.provider)
            for each in self.shown_fields:
                self._add_config(draft.provider, each)
        for row in range(len(draft.tags)):
            self.fields[f"tags-{row}-key"] = text_input(_("Key"), max_length=127)
            self.fields[f"tags-{row}-value"] = text_input(_("Value"), max_length=255, optional=True)
        self.fields |= rows.fields(draft) | settings.form_fields()

    # Building

    def _add_general(self) -> None:
        if not self.editing:
            self.fields["name"] = text_input(
                _("Name"),
                max_length=MAX_NAME_LENGTH,
                help=_("Letters, digits, hyphens and underscores. It cannot be changed later."),
            )
        self.fields["description"] = textarea(_("Description"), optional=True)
        self.fields["served_entity_name"] = text_input(
            _("Served entity name"),
            max_length=MAX_NAME_LENGTH,
            optional=True,
            help=_("Empty for the model's name, with a hyphen for what a name cannot have."),
        )
        for name, key in LIMIT_KEYS.items():
            if key.own_input:
                self.fields[own_input(name)] = text_input(
                    translate(key.own_input), max_length=12, inputmode="numeric", placeholder=_("No limit")
                )

    def _add_model(self, provider: Provider) -> None:
        name = input_name(provider, MODEL)
        if self.is_own:
            help = _("The name of a model under My models, or in the MLflow registry.")
            self.fields[name] = text_input(
                _("Model"), max_length=MAX_MODEL_NAME_LENGTH, help=help, list="model-suggestions"
            )
            self.fields[name].widget.attrs |= self._redraw_attributes("#entity")
            return
        self.fields[name] = text_input(
            _("External model name"),
            max_length=MAX_MODEL_NAME_LENGTH,
            help=_("Choose a suggestion or type any model that the provider has."),
            list="model-suggestions",
        )
        self.fields["task"] = forms.CharField(
            label=_("Task"),
            required=False,
            widget=forms.Select(
                choices=[(task.value, translate(task.label)) for task in provider.tasks],
                attrs=self._redraw_attributes(),
            ),
        )

    def _add_config(self, provider: Provider, each: ConfigField) -> None:
        name = input_name(provider, each.name)
        if each.kind == "secret":
            self._add_secret(name, each)
        elif each.kind == "choice":
            attrs = self._redraw_attributes() if self._changes_other_fields(each.name) else {}
            choices = [(value, translate(label)) for value, label in each.choices]
            if each.default is None:
                choices.insert(0, ("", _("Choose one")))
            self.initial.setdefault(name, each.default)
            widget = forms.Select(choices=choices, attrs=attrs)
            self.fields[name] = as_optional(
                forms.CharField(
                    label=translate(each.label), help_text=self._help(each), required=False, widget=widget
                ),
                False,
            )
        else:
            self.fields[name] = self._own_field(provider, each) or text_input(
                translate(each.label),
                max_length=each.max_length,
                optional=not each.required,
                help=self._help(each),
                placeholder=each.placeholder or each.default or "",
                inputmode="url" if each.kind == "url" else "text",
            )

    def _own_field(self, provider: Provider, each: ConfigField) -> forms.CharField | None:
        if provider is not own_model.OWN:
            return None
        return own_model.field(each, help=self._help(each), chunk_size=self.versions.chunk_size)

    @cached_property
    def versions(self) -> models.Versions:
        """The versions of the chosen model of one's own."""
        model = self.draft.values.get(own_model.MODEL_INPUT, "") if self.is_own else ""
        return models.versions(model.strip())

    def _help(self, each: ConfigField) -> str:
        """The help of a field, with a warning if a change of it makes the secret necessary again."""
        sentences = [translate(each.help)] if each.help else []
        if each.decides_destination and self._has_secret_bound_to_destination():
            sentences.append(_("If you change this, the secret must be given again."))
        return " ".join(sentences)

    def _has_secret_bound_to_destination(self) -> bool:
        """Whether the endpoint uses a stored secret, or a reference that this person may not read."""
        if not self.editing:
            return False
        names = [
            input_name(self.draft.provider, each.name)
            for each in self.shown_fields
            if each.kind == "secret" and self.draft.provider
        ]
        return any(
            self._is_stored(name) or self.draft.values.get(name, "") not in ("", *self.references)
            for name in names
        )

    def _add_secret(self, name: str, each: ConfigField) -> None:
        if self.draft.is_misplaced(name):
            self.initial[name] = ""
        self.fields[name] = text_input(
            translate(each.label),
            max_length=300,
            optional=not each.required,
            help=translate(each.help),
            placeholder="{{secrets/<scope>/<key>}}",
            list="secret-references",
        )
        attrs: dict[str, Any] = {"autocomplete": "off", "spellcheck": "false"}
        is_pasted, is_stored = name + ENCRYPTED_SUFFIX in self.draft.values, self._is_stored(name)
        attrs["placeholder"] = (
            _("Pasted. Leave empty to keep.")
            if is_pasted
            else _("Stored. Leave empty to keep.")
            if is_stored
            else ""
        )
        widget = (
            forms.Textarea(attrs={**attrs, "rows": 3, "class": "code"})
            if each.multiline
            else forms.PasswordInput(attrs=attrs)
        )
        self.fields[name + PLAINTEXT_SUFFIX] = forms.CharField(
            required=False, label=_("or paste the key"), widget=widget
        )

    def _is_stored(self, name: str) -> bool:
        return (
            name in self.draft.stored
            and not self.draft.values.get(name)
            and name + ENCRYPTED_SUFFIX not in self.draft.values
        )

    def _changes_other_fields(self, name: str) -> bool:
        provider = self.draft.provider
        conditions = (
            [c for f in provider.config.fields() for c in (f.shown_when, f.required_when)] if provider else []
        )
        suggests = provider is not None and provider.suggest is not None
        return suggests or any(condition and condition[0] == name for condition in conditions)

    def _redraw_attributes(self, target: str = "#dependent-fields") -> dict[str, str]:
        return {
            "hx-post": self.fields_url,
            "hx-trigger": "change",
            "hx-include": "closest form",
            "hx-target": target,
            "hx-swap": "outerHTML",
            "hx-sync": "closest form:replace",
            "hx-indicator": "#redrawing",
        }

    # Showing

    def limit_rows(self) -> list[rows.LimitInputs]:
        """The inputs of each further limit."""
        return rows.limit_inputs(self)

    def entity_rows(self) -> list[rows.EntityRow]:
        """The served entities, when there may be several."""
        return rows.entity_rows(self) if self.may_be_several else []

    def setting_sections(self) -> list[settings.Section]:
        return settings.sections(self)

    def add_problems(self, problems: Iterable[tuple[str | None, str]]) -> None:
        """Adds each sentence as an error of its input; one without an input is listed at the top only."""
        self.is_bound, self.data = True, self.initial
        self.full_clean()
        for name, sentence in problems:
            if name in self.fields:
                self.add_error(name, sentence)
            else:
                self.general_problems.append(sentence)
                if name == "provider":
                    self.provider_problem = sentence

    provider_problem = ""

    def problems(self) -> list[ListedProblem]:
        """The problems for the list at the top of the page."""
        found = [
            ListedProblem("entity-button" if text == self.provider_problem else "", _("Entity"), text)
            for text in self.general_problems
        ]
        for name, errors in self.errors.items():
            field = self[name]
            found += [ListedProblem(field.auto_id, str(field.label), str(error)) for error in errors]
        return found

    def _rows(self, fields: list[ConfigField]) -> list[Row]:
        provider = self.draft.provider
        return [self._row(input_name(provider, each.name), each) for each in fields] if provider else []

    def _row(self, name: str, each: ConfigField) -> Row:
        if each.kind != "secret":
            redraws = each.kind == "choice" and self._changes_other_fields(each.name)
            return Row(self[name], redraws=redraws, is_minor=each.name in own_model.MINIMUMS)
        return Row(
            self[name],
            self[name + PLAINTEXT_SUFFIX],
            name + ENCRYPTED_SUFFIX in self.draft.values,
            self._is_stored(name),
        )

    def _redraw_start(self) -> int:
        """Index of the first field that a redraw replaces: after the last choice that changes other fields, which must keep
        the focus, but not after the first field that depends on one."""
        fields = self.shown_fields
        last = max(
            (
                at + 1
                for at, each in enumerate(fields)
                if each.kind == "choice" and self._changes_other_fields(each.name)
            ),
            default=0,
        )
        first = next(
            (at for at, each in enumerate(fields) if each.shown_when or each.required_when), len(fields)
        )
        return min(last, first)

    def independent_rows(self) -> list[Row]:
        """The provider's fields that a redraw does not replace."""
        return self._rows(self.shown_fields[: self._redraw_start()])

    def dependent_rows(self) -> list[Row]:
        """The provider's fields that a redraw replaces."""
        return self._rows(self.shown_fields[self._redraw_start() :])

    def hidden_answers(self) -> list[tuple[str, str]]:
        """Hidden inputs: values of other providers, of fields that are not shown, and encrypted pasted keys."""
        visible = {name for name in self.fields if name + PLAINTEXT_SUFFIX not in self.fields}
        shown_secrets = {name for name in self.fields if name + PLAINTEXT_SUFFIX in self.fields}
        return [each for each in self.draft.hidden_answers(visible) if each[0] not in shown_secrets]

    def suggestions(self) -> tuple[str, ...]:
        """Model names to suggest for the task and the current values."""
        draft, provider = self.draft, self.draft.provider
        if provider is own_model.OWN:
            return models.names()
        return provider.suggestions(draft.task, draft.config_values(provider)) if provider else ()

    def model(self) -> forms.BoundField | None:
        return self[input_name(self.draft.provider, MODEL)] if self.draft.provider else None

    def tag_rows(self) -> list[TagRow]:
        return [
            TagRow(row, self[f"tags-{row}-key"], self[f"tags-{row}-value"])
            for row in range(len(self.draft.tags))
        ]

    def offered(self) -> list[Provider]:
        """The providers in the dialog; a hidden provider only if it is the current one."""
        chosen = self.draft.provider
        extra = [chosen] if chosen and chosen.hidden and chosen is not own_model.OWN else []
        return [*offered(), *extra]

    @property
    def is_own(self) -> bool:
        """Whether the open entity is a model of one's own."""
        return self.draft.provider is own_model.OWN

    @property
    def compute(self) -> str:
        """Compute type and size of an own model, for the summary."""
        own = own_model.OWN
        return own_model.compute_words(self.draft.config_values(own), self.draft.shown(own))

    @cached_property
    def own_choices(self) -> list[tuple[str, str]]:
        """The dialog's models of one's own: value and name. The last one has no name: it is typed."""
        names = models.names_here(limit=MAX_OFFERED)
        return [*((f"{own_model.OWN.name}:{name}", name) for name in names), (own_model.OWN.name, "")]

    @property
    def choice(self) -> str:
        """The value of the dialog's current choice; empty without one."""
        if not self.is_own:
            return self.draft.values.get("provider", "")
        model = self.draft.values.get(own_model.MODEL_INPUT, "")
        return next((value for value, name in self.own_choices if name == model), own_model.OWN.name)

    @property
    def has_cluster(self) -> bool:
        """Whether this server can run models of one's own."""
        return cluster.is_configured()


def _tag_values(draft: Draft) -> dict[str, str]:
    keys = {f"tags-{row}-key": key for row, (key, _value) in enumerate(draft.tags)}
    return keys | {f"tags-{row}-value": value for row, (_key, value) in enumerate(draft.tags)}
