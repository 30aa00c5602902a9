"""The form of a model host: converts its inputs to the body of the API, and puts the API's problems beside them.

It validates nothing itself. A pasted secret is never in the page, so it must be typed again when the form is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.fields import ConfigField
from serving_ui.catalogue.problems import Path, SpecErrors
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.registry import PROVIDERS
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.model_hosts.models import HostKind, ModelHost
from serving_ui.pages.forms.inputs import as_optional, text_input
from serving_ui.pages.translation import translate

OF_ACCOUNT = "account__"
"""Prefix of the inputs of a provider's fields."""
_TASKS = {task.value.rpartition("/")[2]: task.value for task in Task}
Values = Mapping[str, str]


class ModelHostForm(forms.Form):
    """`provider` is that of an account, else None; `host` is the one that is edited, or None."""

    def __init__(
        self, values: Values, *, kind: str, provider: Provider | None = None, host: ModelHost | None = None
    ) -> None:
        super().__init__(initial={**(_values_of(host) if host else {}), **values})
        self.kind, self.provider, self.host = kind, provider, host
        self.general_problems: list[str] = []
        if host is None:
            self.fields["name"] = text_input(
                _("Name"),
                max_length=40,
                help=_("Letters, digits, hyphens and underscores. It cannot be changed later."),
            )
        if provider is None:
            self._add_server()
        else:
            for each in self._shown():
                self._add_account_field(each)
        self.fields["prefix"] = text_input(
            _("Prefix of endpoint names"),
            max_length=40,
            optional=True,
            help=_("Stands in place of the host's name in system-<host>-<model>. Existing names stay."),
        )
        self._add_models()

    def _add_server(self) -> None:
        is_workspace = self.kind == HostKind.DATABRICKS
        self.fields["base_url"] = text_input(
            _("Workspace URL") if is_workspace else _("Base URL"),
            max_length=1024,
            inputmode="url",
            placeholder="https://my-workspace.cloud.databricks.com"
            if is_workspace
            else "http://127.0.0.1:11434/v1",
            help=_("If you change this, the secret must be given again.") if self.host else "",
        )
        label = _("API token") if is_workspace else _("API key")
        self._add_secret("secret", label, optional=not is_workspace)

    def _add_secret(self, name: str, label: str, *, optional: bool, help: str = "") -> None:
        is_stored = self.host is not None and self.host.config.secrets() and not self.initial.get(name)
        self.fields[name] = text_input(
            _("%(label)s: secret reference") % {"label": label},
            max_length=300,
            optional=optional,
            placeholder="{{secrets/<scope>/<key>}}",
            help=help,
        )
        attrs = {"autocomplete": "off", "placeholder": _("Stored. Leave empty to keep.") if is_stored else ""}
        self.fields[name + PLAINTEXT_SUFFIX] = as_optional(
            forms.CharField(
                label=_("or paste the key"), required=False, widget=forms.PasswordInput(attrs=attrs)
            ),
            True,
        )

    def _add_account_field(self, each: ConfigField) -> None:
        name, label, help = OF_ACCOUNT + each.name, translate(each.label), translate(each.help)
        if each.kind == "secret":
            self._add_secret(name, label, optional=not each.required, help=help)
        elif each.kind == "choice":
            choices = [(value, translate(text)) for value, text in each.choices]
            self.initial.setdefault(name, each.default or choices[0][0])
            widget = forms.Select(choices=choices)
            field = forms.CharField(label=label, help_text=help, required=False, widget=widget)
            self.fields[name] = as_optional(field, False)
        else:
            self.fields[name] = text_input(
                label,
                max_length=each.max_length,
                optional=not each.required,
                help=help,
                placeholder=each.placeholder or each.default or "",
            )

    def _add_models(self) -> None:
        field = forms.CharField(
            label=_("Models"),
            required=False,
            widget=forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}),
            help_text=_(
                "One name a line, followed by completions or embeddings if it is no chat model. Empty: all that the host lists."
            ),
        )
        self.fields["models"] = as_optional(field, True)

    def _shown(self) -> list[ConfigField]:
        return self.provider.config.shown(self._account_values()) if self.provider else []

    def _account_values(self) -> dict[str, str]:
        start = len(OF_ACCOUNT)
        return {name[start:]: text for name, text in self.initial.items() if name.startswith(OF_ACCOUNT)}

    @property
    def has_choices(self) -> bool:
        """Whether a choice decides which fields there are."""
        return self.provider is not None and any(each.shown_when for each in self.provider.config.fields())

    def body(self) -> dict[str, Any]:
        """The body of the API. Of an edited host only what was changed."""
        values = self.initial
        body: dict[str, Any] = {"prefix": values.get("prefix", "").strip(), "models": self._models()}
        if self.host is None:
            body |= {"name": values.get("name", "").strip(), "kind": self.kind}
        if self.provider:
            account = self._account(self.provider)
            shown = _account_of(self.host) if self.host else None
            return body if account == shown else {**body, "account": account}
        secrets = {name: values.get(name, "").strip() for name in ("secret", "secret" + PLAINTEXT_SUFFIX)}
        if self.host and secrets["secret"] == self.host.secret_reference and not secrets["secret_plaintext"]:
            secrets = {}
            if self.host.secret_reference and values.get("base_url", "").strip() != self.host.base_url:
                secrets = {"secret": self.host.secret_reference}  # the admin sees where it is sent now
        return {
            **body,
            "base_url": values.get("base_url", "").strip(),
            **{n: v for n, v in secrets.items() if v},
        }

    def _account(self, provider: Provider) -> dict[str, Any]:
        values = self._account_values()
        block = provider.config.nested({name: text for name, text in values.items() if text})
        for each in provider.config.fields():
            pasted = values.get(each.name + PLAINTEXT_SUFFIX, "").strip() if each.kind == "secret" else ""
            if pasted:
                _put(block, each.path, pasted)
        return {"provider": provider.name, provider.config_key: block}

    def _models(self) -> list[dict[str, str]]:
        found = []
        for line in self.initial.get("models", "").splitlines():
            name, *task = line.split()[:2] or [""]
            if name:
                found.append(
                    {"name": name, **({"task": _TASKS.get(task[0].lower(), task[0])} if task else {})}
                )
        return found

    def add_problems(self, errors: SpecErrors) -> None:
        """Shows each sentence beside its input, or at the top."""
        self.is_bound, self.data = True, self.initial
        self.full_clean()
        for problem in errors.problems:
            name, sentence = self._input_of(problem.path), translate(problem.message)
            if name in self.fields:
                self.add_error(name, sentence)
            else:
                self.general_problems.append(sentence)

    def _input_of(self, path: Path) -> str:
        if path[:1] != ("account",):
            return str(path[0]) if path else ""
        inner = tuple(str(part).removesuffix(PLAINTEXT_SUFFIX) for part in path[2:])
        fields = self.provider.config.fields() if self.provider else ()
        return next((OF_ACCOUNT + each.name for each in fields if each.path == inner), "")


def _put(block: dict[str, Any], path: tuple[str, ...], value: str) -> None:
    for part in path[:-1]:
        block = block.setdefault(part, {})
    block.pop(path[-1], None)
    block[path[-1] + PLAINTEXT_SUFFIX] = value


def _values_of(host: ModelHost) -> dict[str, str]:
    """The host as the form shows it, without values of secrets."""
    tasks = {value: word for word, value in _TASKS.items()}
    values = {
        "prefix": host.prefix,
        "models": "\n".join(f"{each['name']} {tasks[each['task']]}" for each in host.named_models),
        "base_url": host.base_url,
        "secret": host.secret_reference,
    }
    for name, value in host.external.config.flat().items():
        text = value.reference if isinstance(value, Secret) and value.kind == "reference" else value
        if isinstance(text, str):
            values[OF_ACCOUNT + name] = text
    return values


def _account_of(host: ModelHost) -> dict[str, Any]:
    shown = host.config.public()["served_entities"][0]["external_model"]
    return {name: value for name, value in shown.items() if name not in ("name", "task")}


def provider_of(name: str) -> Provider | None:
    """The provider of this name, if an account at it can be a host."""
    return PROVIDERS.get(name)
