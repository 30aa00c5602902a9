"""What a person or the API gives of a model host, and the config that it stands for.

The config is one of the catalogue: that of a custom provider, of a Databricks workspace, or of any provider. So it is validated, its
addresses are checked and its secrets are kept like those of an endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from serving_ui.catalogue import names, registry
from serving_ui.catalogue.api_model import ApiModel, RequestBody
from serving_ui.catalogue.problems import Path, Problem, SpecErrors, field_error
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import ConfigSpec, parse_config
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.endpoints import outbound
from serving_ui.model_hosts.models import HostKind

PREFIX_PATTERN = r"[A-Za-z0-9_-]{1,40}"
MAX_NAMED_MODELS = 500
_PLACE = ("served_entities", 0, "external_model")


def _valid_prefix(value: str) -> str:
    if value and not re.fullmatch(PREFIX_PATTERN, value):
        raise field_error(_("Use 1 to 40 letters (a to z), digits, hyphens and underscores."))
    return value


def _valid_host_name(value: str) -> str:
    if not value:
        raise field_error(_("Name is missing. Give it and try again."), "required")
    return _valid_prefix(value)


def _valid_model_name(value: str) -> str:
    if problem := names.model_name_problem(value):
        raise field_error(problem)
    return value


class NamedModel(ApiModel):
    name: Annotated[
        str, AfterValidator(_valid_model_name), Field(description="As the provider calls the model.")
    ]
    task: Annotated[Task, Field(description="What the model does.")] = Task.CHAT


SecretReference = Annotated[
    str | None,
    Field(
        description="A secret reference: the API key or token of the server. It is sent on the right of who gives it.",
        examples=["{{secrets/my_scope/my_key}}"],
    ),
]
SecretPlaintext = Annotated[
    str | None, Field(description="The key itself, in place of a reference. No answer shows it.")
]
Account = Annotated[
    dict[str, Any] | None,
    Field(
        description="For the kind provider: the provider's name and its config block, as in external_model.",
        examples=[{"provider": "openai", "openai_config": {"openai_api_key": "{{secrets/my_scope/my_key}}"}}],
    ),
]
Prefix = Annotated[
    str,
    AfterValidator(_valid_prefix),
    Field(description="Stands for the host in the names of its endpoints. Default: the host's name."),
]
NamedModels = Annotated[
    list[NamedModel],
    Field(
        max_length=MAX_NAMED_MODELS,
        description="Only these models. Empty: all that the host lists. Required for a provider without such a list.",
    ),
]


class HostSpec(RequestBody):
    """A new model host."""

    name: Annotated[
        str,
        AfterValidator(_valid_host_name),
        Field(
            description="1 to 40 letters, digits, hyphens and underscores. It cannot be changed.",
            json_schema_extra={"pattern": f"^{PREFIX_PATTERN}$"},
        ),
    ]
    kind: Annotated[
        Literal["openai-compatible", "databricks", "provider"],
        Field(description="It cannot be changed."),
    ] = "openai-compatible"
    base_url: Annotated[
        str, Field(description="Of the server, such as http://127.0.0.1:11434/v1, or of the workspace.")
    ] = ""
    secret: SecretReference = None
    secret_plaintext: SecretPlaintext = None
    account: Account = None
    prefix: Prefix = ""
    models: NamedModels = Field(default_factory=list)


class HostChanges(RequestBody):
    """What is left out stays. An address or account that is changed needs its secret again."""

    base_url: str | None = None
    secret: SecretReference = None
    secret_plaintext: SecretPlaintext = None
    account: Account = None
    prefix: Prefix | None = None
    models: NamedModels | None = None

    @property
    def has_connection(self) -> bool:
        parts = (self.base_url, self.secret, self.secret_plaintext, self.account)
        return any(each is not None for each in parts)


def connection(spec: HostSpec | HostChanges, kind: str, *, base_url: str) -> ConfigSpec:
    """The config that reaches the host. Raises SpecErrors with paths of `spec`."""
    external = _external(spec, kind, base_url)
    try:
        return parse_config({"served_entities": [{"name": "host", "external_model": external}]})
    except SpecErrors as errors:
        raise SpecErrors([problem_of_host(problem, kind) for problem in errors.problems]) from None


def problem_of_host(problem: Problem, kind: str) -> Problem:
    """The problem with a path of the config, with the path of the field of HostSpec."""
    path: Path = problem.path
    if path[: len(_PLACE)] == _PLACE:
        path = path[len(_PLACE) :]
    if kind == HostKind.PROVIDER:
        return Problem(("account", *path), problem.message, problem.code)
    is_address = bool(path) and str(path[-1]).endswith("_url")
    return Problem(("base_url" if is_address else "secret",), problem.message, problem.code)


def _external(spec: HostSpec | HostChanges, kind: str, base_url: str) -> Mapping[str, Any]:
    secret = {"": spec.secret, "_plaintext": spec.secret_plaintext}
    filled = {end: value for end, value in secret.items() if value}
    if kind == HostKind.PROVIDER:
        return _account(spec)
    if spec.account is not None:
        message = _("This belongs to the kind provider. Leave it out, and give base_url.")
        raise SpecErrors([Problem(("account",), message, "not_applicable")])
    model = {"name": "host", "task": Task.CHAT.value}
    if kind == HostKind.DATABRICKS:
        token = {f"databricks_api_token{end}": value for end, value in filled.items()}
        block: dict[str, Any] = {"databricks_workspace_url": base_url, **token}
        return {**model, "provider": "databricks-model-serving", "databricks_model_serving_config": block}
    block = {"custom_provider_url": base_url}
    if filled:
        block["bearer_token_auth"] = {f"token{end}": value for end, value in filled.items()}
    return {**model, "provider": "custom", "custom_provider_config": block}


def _account(spec: HostSpec | HostChanges) -> Mapping[str, Any]:
    problems = [
        Problem((name,), _("The kind provider has its secrets and addresses in account."), "not_applicable")
        for name in ("base_url", "secret", "secret_plaintext")
        if getattr(spec, name)
    ]
    if spec.account is None:
        problems.append(
            Problem(
                ("account",), _("Give the account: the provider's name and its config block."), "required"
            )
        )
    if problems:
        raise SpecErrors(problems)
    account = spec.account or {}
    provider = registry.PROVIDERS.get(str(account.get("provider")))
    task = provider.tasks[0] if provider else Task.CHAT
    return {**account, "name": "host", "task": task.value}


def check_models(config: ConfigSpec, models: Sequence[NamedModel]) -> None:
    """Refuses named models with tasks that the provider does not have, and none if it cannot list its models. Raises SpecErrors."""
    filled = config.with_secrets(dict.fromkeys(config.secrets(), Secret.from_plaintext("x")))
    external = filled.served_entities[0].external
    entry = external.provider_entry
    message = _("%(provider)s does not have the task %(task)s.")
    problems = [
        Problem(("models", position, "task"), message.fill(provider=entry.label, task=model.task))
        for position, model in enumerate(models)
        if model.task not in entry.tasks
    ]
    if problems:
        raise SpecErrors(problems)
    if not models and entry.list_models(external.config, outbound.addresses()) is None:
        message = _("%(provider)s has no list of models. Name the models of this host.")
        raise SpecErrors([Problem(("models",), message.fill(provider=entry.label), "required")])
