"""The form that registers a version of a model: converts its inputs to the body of the API, and puts the API's problems beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from serving_ui.catalogue.model_source import DEFAULT_CHUNK_SIZE
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.tasks import Task
from serving_ui.lib import json_text
from serving_ui.pages.forms.inputs import as_optional, text_input, textarea
from serving_ui.pages.forms.rate_limits import number_or_text
from serving_ui.pages.translation import translate

KINDS = ("llama_cpp", "vllm", "deployment")


def kind_label(kind: str) -> str:
    """The engine of a model in words."""
    words = {
        "llama_cpp": _("llama.cpp (GGUF file, CPUs)"),
        "vllm": _("vLLM (GPUs)"),
        "deployment": _("Deployment class"),
        "mlflow": _("MLflow"),
    }
    return words[kind]


class RegisterForm(forms.Form):
    """`values` are those that were typed, by input name; it validates nothing itself."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(
            initial={"kind": KINDS[0], "throughput_chunk_size": str(DEFAULT_CHUNK_SIZE), **values}
        )
        self.general_problems: list[str] = []
        self.fields["name"] = text_input(
            _("Name"), max_length=255, help=_("Letters, digits, dots, hyphens and underscores.")
        )
        self.fields["version"] = text_input(
            _("Version"), max_length=64, optional=True, help=_("Empty for the next number.")
        )
        self.fields["kind"] = _select(_("Engine"), [(kind, kind_label(kind)) for kind in KINDS])
        self.fields["location"] = text_input(
            _("Location"),
            max_length=1024,
            help=_(
                "llama.cpp: path or URL of a GGUF file. vLLM: Hugging Face id, path or URL of an object store. Deployment class: module:Class."
            ),
        )
        self._add_task_and_engine()
        self.fields["description"] = textarea(_("Description"), optional=True)

    def _add_task_and_engine(self) -> None:
        tasks = [("", _("None: any JSON")), *((task.value, translate(task.label)) for task in Task)]
        self.fields["task"] = _select(
            _("Task"), tasks, help=_("Only a deployment class can do without a task.")
        )
        self.fields["engine_arguments"] = textarea(
            _("Engine arguments"),
            optional=True,
            help=_('A JSON object that the engine gets as it is, such as {"n_ctx": 4096}.'),
            spellcheck="false",
        )
        self.fields["packages"] = textarea(
            _("Python packages"),
            optional=True,
            help=_("One requirement in each line, installed on the cluster."),
            spellcheck="false",
        )
        self.fields["throughput_chunk_size"] = text_input(
            _("Tokens per second of one replica"),
            max_length=7,
            inputmode="numeric",
            help=_("Provisioned throughput is a multiple of it. Measure it on your hardware."),
        )

    def body(self) -> dict[str, Any]:
        """The body of the API."""
        typed = {name: str(self.initial.get(name, "")).strip() for name in self.fields}
        body: dict[str, Any] = {name: text for name, text in typed.items() if text}
        if "packages" in body:
            body["packages"] = [line.strip() for line in typed["packages"].splitlines() if line.strip()]
        if "throughput_chunk_size" in body:
            body["throughput_chunk_size"] = number_or_text(typed["throughput_chunk_size"])
        if "engine_arguments" in body:
            body["engine_arguments"] = _json_or_text(typed["engine_arguments"])
        return {"name": "", "location": "", **body}

    def add_problems(self, errors: SpecErrors) -> None:
        """Shows each sentence beside its input, or at the top."""
        self.is_bound, self.data = True, self.initial
        self.full_clean()
        for problem in errors.problems:
            name, sentence = str(problem.path[0]) if problem.path else "", translate(problem.message)
            if name in self.fields:
                self.add_error(name, sentence)
            else:
                self.general_problems.append(sentence)


def _select(label: str, choices: list[tuple[str, str]], *, help: str = "") -> forms.CharField:
    widget = forms.Select(choices=choices)
    return as_optional(forms.CharField(label=label, required=False, widget=widget, help_text=help), False)


def _json_or_text(typed: str) -> Any:
    """The JSON, or the text itself, which validation refuses."""
    try:
        return json_text.read(typed.encode(), json_text.REQUEST_BOUNDS)
    except ValueError:
        return typed
