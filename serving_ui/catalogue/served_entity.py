"""A served entity: an external model, a model of one's own, or a foundation model. Exactly one of them.

A foundation model is reached like an external one, so its stored form has both blocks; what people see has only `foundation_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, model_validator

from serving_ui.catalogue import names, own_model
from serving_ui.catalogue.api_model import ApiModel
from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.own_model import OwnModel
from serving_ui.catalogue.problems import Problem, as_validation_error, field_error, from_validation_error
from serving_ui.catalogue.provider_config import is_trusted
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.unknown import Accepted

DumpSecret = Callable[[str, Secret], dict[str, Any]]
_NOT_HERE = ("instance_profile_arn",)
"""Fields of own models at Databricks that would change what a model may do, and that cannot be had here."""
_OWN_FIELDS = tuple(name for name in own_model.FIELDS if name != "task")


class Kind(StrEnum):
    """What an endpoint serves, for ever. The values are those of `endpoint_type` in the API."""

    EXTERNAL_MODEL = "EXTERNAL_MODEL"
    OWN_MODEL = "CUSTOM_MODEL"
    FOUNDATION_MODEL = "FOUNDATION_MODEL_API"


class FoundationModel(ApiModel):
    """A model of a model host, as people see it."""

    name: str
    display_name: str
    description: str = ""
    docs: str = ""


def _valid_name(name: str) -> str:
    if problem := names.entity_name_problem(name):
        raise field_error(problem)
    return name


def _describe_own_fields(schema: dict[str, Any]) -> None:
    """In the API the fields of an own model stand beside the name."""
    own = OwnModel.model_json_schema(ref_template="#/components/schemas/{model}")
    for name in ("own_model", "foundation_model"):
        schema["properties"].pop(name, None)
    definitions = own.get("$defs", {})
    for name in _OWN_FIELDS:
        schema["properties"][name] = _inlined(own["properties"][name], definitions)
    schema["anyOf"] = [{"required": ["external_model"]}, {"required": ["entity_name", "entity_version"]}]


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with its references replaced by what they name."""
    if isinstance(part, Mapping):
        if isinstance(reference := part.get("$ref"), str):
            rest = {name: value for name, value in part.items() if name != "$ref"}
            return {**_inlined(definitions[reference.rpartition("/")[2]], definitions), **rest}
        return {name: _inlined(value, definitions) for name, value in part.items()}
    return [_inlined(each, definitions) for each in part] if isinstance(part, list) else part


class ServedEntity(ApiModel):
    model_config = {"json_schema_extra": _describe_own_fields}

    name: Annotated[
        str,
        AfterValidator(_valid_name),
        Field(
            description="Default: the name of the model (and the version of an own one), with each character that a name cannot contain replaced by a hyphen.",
            json_schema_extra={"pattern": f"^$|^{names.NAME_PATTERN}$"},
        ),
    ] = ""
    external_model: Annotated[
        ExternalModel | None,
        Field(description="A model hosted by a provider, with the config block of that provider only."),
    ] = None
    own_model: OwnModel | None = None
    foundation_model: FoundationModel | None = None

    @classmethod
    def accepted_fields(cls) -> Accepted:
        return {
            **dict.fromkeys(("name", "foundation_model", *_OWN_FIELDS, *_NOT_HERE)),
            "external_model": ExternalModel,
        }

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: object, info: ValidationInfo) -> object:
        if not isinstance(data, Mapping):
            return data
        trusted = is_trusted(info)
        problems = [] if trusted else list(_kind_problems(data))
        found = {name: data[name] for name in ("name", "external_model") if data.get(name) is not None}
        if data.get("external_model") is None:
            fields = own_model.FIELDS if trusted else _OWN_FIELDS
            own = {name: data[name] for name in fields if data.get(name) is not None}
            try:
                found["own_model"] = OwnModel.model_validate(own) if own else None
            except ValidationError as error:
                problems += from_validation_error(error)
        elif trusted and data.get("foundation_model") is not None:
            found["foundation_model"] = data["foundation_model"]
        if problems:
            raise as_validation_error(problems)
        if not found.get("name") and (default := _default_name(found)):
            found["name"] = default
        return found

    @property
    def kind(self) -> Kind:
        if self.own_model is not None:
            return Kind.OWN_MODEL
        return Kind.EXTERNAL_MODEL if self.foundation_model is None else Kind.FOUNDATION_MODEL

    @property
    def task(self) -> Task | None:
        """None for an own model that answers any JSON."""
        return self.external_model.task if self.external_model else self.own.task

    @property
    def external(self) -> ExternalModel:
        """The external model of an entity that is known to have one."""
        assert self.external_model is not None  # noqa: S101 - see above
        return self.external_model

    @property
    def own(self) -> OwnModel:
        """The own model of an entity that is known to have one."""
        assert self.own_model is not None  # noqa: S101 - see above
        return self.own_model

    @property
    def model_name(self) -> str:
        """The model as people see it."""
        if self.foundation_model:
            return self.foundation_model.display_name
        return self.external_model.name if self.external_model else self.own.entity_name

    @property
    def default_name(self) -> str:
        """The name that the entity gets when none is given."""
        if self.own_model:
            return _own_name(self.own_model.entity_name, self.own_model.entity_version)
        return names.default_entity_name(self.external.name)

    def dump(self, dump_secret: DumpSecret) -> dict[str, Any]:
        """In the format of the API; `dump_secret` returns the fields of a secret. A foundation model with both of its blocks."""
        found: dict[str, Any] = {"name": self.name}
        if self.foundation_model:
            found["foundation_model"] = self.foundation_model.model_dump()
        if self.own_model:
            return {**found, **self.own_model.dump()}
        return {**found, "external_model": self.external.dump(dump_secret)}


def _kind_problems(data: Mapping[Any, Any]) -> Iterator[Problem]:
    """Neither or more than one kind of model."""
    if data.get("foundation_model") is not None:
        message = _("A foundation model is ready already. Query its own endpoint; leave this out.")
        yield Problem(("foundation_model",), message, "not_applicable")
    own = [name for name in (*_OWN_FIELDS, *_NOT_HERE) if data.get(name) is not None]
    if data.get("external_model") is None:
        if not own:
            message = _(
                "External model is missing. Give external_model, or entity_name and entity_version of a model of your own."
            )
            yield Problem(("external_model",), message, "required")
        for name in _NOT_HERE:
            if data.get(name) is not None:
                yield Problem(
                    (name,), _("%(field)s is not supported. Leave it out.").fill(field=name), "not_applicable"
                )
        return
    message = _("%(field)s cannot be given with an external model, which runs at its provider. Leave it out.")
    for name in own:
        yield Problem((name,), message.fill(field=name), "not_applicable")


def _default_name(found: Mapping[str, Any]) -> str:
    model: OwnModel | None = found.get("own_model")
    if model is not None:
        return _own_name(model.entity_name, model.entity_version)
    external = found.get("external_model")
    name = external.get("name") if isinstance(external, Mapping) else None
    return names.default_entity_name(name.strip()) if isinstance(name, str) else ""


def _own_name(model: str, version: str) -> str:
    return names.default_entity_name(f"{model}-{version}")
