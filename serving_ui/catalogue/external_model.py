"""An external model: a provider, the provider's model, a task, and the provider's config block.

In the API, the key of the block depends on the provider, such as `openai_config`; here it is `config`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from serving_ui.catalogue import names, registry
from serving_ui.catalogue.problems import Problem, as_validation_error, from_validation_error
from serving_ui.catalogue.provider import Provider
from serving_ui.catalogue.provider_config import ProviderConfig, is_trusted
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import TranslatableText, _

_PLAIN_FIELDS = ("provider", "name", "task")


class ExternalModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    provider: str
    name: str
    task: Task
    config: SerializeAsAny[ProviderConfig]

    @classmethod
    def accepted_fields(cls) -> dict[str, type[ProviderConfig] | None]:
        """The config keys of all providers instead of `config`; see `unknown.in_model`."""
        blocks = {provider.config_key: provider.config for provider in registry.PROVIDERS.values()}
        return {**dict.fromkeys(_PLAIN_FIELDS), **blocks}

    @property
    def provider_entry(self) -> Provider:
        """The catalogue's entry of this model's provider."""
        return registry.get(self.provider)

    def dump(self, dump_secret: Callable[[str, Secret], dict[str, Any]]) -> dict[str, Any]:
        """In the format of the API; `dump_secret` returns the fields of a secret."""
        plain = {"provider": self.provider, "name": self.name, "task": self.task.value}
        return {**plain, self.provider_entry.config_key: self.config.dump(dump_secret)}

    @model_validator(mode="wrap")
    @classmethod
    def _read(
        cls, data: object, handler: ModelWrapValidatorHandler[ExternalModel], info: ValidationInfo
    ) -> ExternalModel:
        if isinstance(data, cls):
            return handler(data)
        if not isinstance(data, Mapping):
            raise as_validation_error([Problem((), _("External model must be an object."))])
        values, problems = _plain_fields(data)
        provider = registry.PROVIDERS.get(values["provider"]) if "provider" in values else None
        if provider is not None:
            if not is_trusted(info):
                problems += _task_problems(provider, values.get("task"))
            problems += _other_block_problems(provider, data)
            config, config_problems = _config(provider, data, info.context)
            problems += config_problems
            values["config"] = config
        if problems:
            raise as_validation_error(problems)
        return handler(values)


def _plain_fields(data: Mapping[Any, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Provider, model name and task, as far as they are valid, and their problems."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in _PLAIN_FIELDS:
        value = data.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            problems.append(Problem((name,), _MISSING[name], "required"))
        elif not isinstance(value, str):
            problems.append(Problem((name,), _("%(label)s must be text.").fill(label=_LABELS[name])))
        elif message := _value_problem(name, value.strip()):
            problems.append(Problem((name,), message))
        else:
            values[name] = value.strip()
    return values, problems


def _value_problem(name: str, value: str) -> TranslatableText | None:
    if name == "name":
        return names.model_name_problem(value)
    if name == "provider" and value not in registry.PROVIDERS:
        known = [provider.name for provider in registry.offered()]
        return _("There is no such provider. Choose one of: %(known)s.").fill(known=known)
    if name == "task" and value not in list(Task):
        return _("There is no such task. Choose one of: %(known)s.").fill(known=list(map(str, Task)))
    return None


def _task_problems(provider: Provider, task: str | None) -> list[Problem]:
    if task is None or task in provider.models:
        return []
    message = _("%(provider)s does not have the task %(task)s. Choose one of: %(known)s.").fill(
        provider=provider.label, task=task, known=[str(each) for each in provider.tasks]
    )
    return [Problem(("task",), message, "task_not_offered")]


def _other_block_problems(provider: Provider, data: Mapping[Any, Any]) -> list[Problem]:
    message = _("%(block)s belongs to another provider. Leave it out; %(provider)s has %(key)s.")
    others = [other.config_key for other in registry.PROVIDERS.values() if other is not provider]
    return [
        Problem(
            (key,),
            message.fill(block=key, provider=provider.label, key=provider.config_key),
            "not_applicable",
        )
        for key in others
        if data.get(key) is not None
    ]


def _config(
    provider: Provider, data: Mapping[Any, Any], context: Any
) -> tuple[ProviderConfig | None, list[Problem]]:
    block = data.get(provider.config_key)
    try:
        return provider.config.model_validate({} if block is None else block, context=context), []
    except ValidationError as error:
        problems = from_validation_error(error)
    if block is None:
        message = _("%(key)s is missing. Give it with the fields of %(provider)s.")
        filled = message.fill(key=provider.config_key, provider=provider.label)
        return None, [Problem((provider.config_key,), filled, "required")]
    return None, [problem.under(provider.config_key) for problem in problems]


_LABELS: dict[str, TranslatableText] = {
    "provider": _("Provider"),
    "name": _("External model name"),
    "task": _("Task"),
}
_MISSING: dict[str, TranslatableText] = {
    "provider": _("Provider is missing. Choose one and try again."),
    "name": _("External model name is missing. Give the provider's name of the model."),
    "task": _("Task is missing. Choose one and try again."),
}
