"""The config of an endpoint: its served entities and how traffic is divided among them.

External models are so far the only kind of served entity. The stored config contains no plaintext secrets, and the public one contains
only references of secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictInt,
    ValidationError,
    model_validator,
)

from serving_ui.catalogue import names, unknown
from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.catalogue.problems import (
    Path,
    Problem,
    SpecErrors,
    as_validation_error,
    field_error,
    from_validation_error,
    validated,
)
from serving_ui.catalogue.provider_config import TRUSTED
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.unknown import Accepted

MAX_SERVED_ENTITIES = 10
DumpSecret = Callable[[str, Secret], dict[str, Any]]

COMPUTE_FIELDS = (
    "entity_name",
    "entity_version",
    "workload_size",
    "workload_type",
    "scale_to_zero_enabled",
    "min_provisioned_throughput",
    "max_provisioned_throughput",
    "min_provisioned_concurrency",
    "max_provisioned_concurrency",
    "provisioned_model_units",
    "burst_scaling_enabled",
    "environment_vars",
    "instance_profile_arn",
)
"""Fields of the API for models that the server runs itself. They cannot be given with an external model."""


class ApiModel(BaseModel):
    """A part of an API body. A field that is null counts as missing."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    further_fields: ClassVar[tuple[str, ...]] = ()
    """Names that are accepted beside the pydantic fields, so that they are not reported as unknown."""

    @classmethod
    def accepted_fields(cls) -> Accepted:
        return {**dict.fromkeys(cls.further_fields), **unknown.fields_of(cls)}

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        if isinstance(data, Mapping):
            return {name: value for name, value in data.items() if value is not None}
        return data


class RequestBody(ApiModel):
    """A whole request body with the paths of its unknown fields, which do not count when two bodies are compared."""

    _unknown: list[str] = PrivateAttr(default_factory=list)

    @property
    def unknown(self) -> list[str]:
        """Paths of the unknown fields, if the body was made by `parsed`."""
        return self._unknown

    @classmethod
    def parsed(cls, body: object, *prefix: str) -> Self:
        """Read a body. Raises SpecErrors with paths that start with `prefix`."""
        instance = validated(cls.model_validate, body, *prefix)
        instance._unknown.extend(unknown.in_model(cls, body))
        return instance

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]


def _valid_entity_name(name: str) -> str:
    if problem := names.entity_name_problem(name):
        raise field_error(problem)
    return name


class ServedEntity(ApiModel):
    further_fields = COMPUTE_FIELDS

    name: Annotated[
        str,
        AfterValidator(_valid_entity_name),
        Field(
            description="Default: the name of the model, with each character that a name cannot contain replaced by a hyphen.",
            json_schema_extra={"pattern": f"^$|^{names.NAME_PATTERN}$"},
        ),
    ] = ""
    external_model: Annotated[
        ExternalModel,
        Field(description="A model hosted by a provider, with the config block of that provider only."),
    ]

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        message = _(
            "%(field)s cannot be given with an external model, which runs at its provider. Leave it out."
        )
        not_applicable = [name for name in COMPUTE_FIELDS if data.get(name) is not None]
        if not_applicable and data.get("external_model") is not None:
            raise as_validation_error(
                Problem((name,), message.fill(field=name), "not_applicable") for name in not_applicable
            )
        model = data.get("external_model")
        model_name = model.get("name") if isinstance(model, Mapping) else None
        if data.get("name") in (None, "") and isinstance(model_name, str) and model_name.strip():
            return {**data, "name": names.default_entity_name(model_name.strip())}
        return data


def _describe_both_names(schema: dict[str, Any]) -> None:
    """`served_model_name` is the older name of the same field; one of the two is required."""
    newer = schema["properties"]["served_entity_name"]
    schema["properties"]["served_model_name"] = {
        **newer,
        "description": "The older name of served_entity_name.",
    }
    schema["required"] = ["traffic_percentage"]
    schema["anyOf"] = [{"required": [name]} for name in ("served_entity_name", "served_model_name")]


class Route(ApiModel):
    model_config = ConfigDict(json_schema_extra=_describe_both_names)

    further_fields = ("served_model_name",)

    served_entity_name: Annotated[
        str,
        Field(
            description="Name of the served entity.",
            json_schema_extra={"pattern": f"^{names.NAME_PATTERN}$"},
        ),
    ]
    traffic_percentage: Annotated[
        StrictInt, Field(ge=0, le=100, description="Percentage of the queries that go to this served entity.")
    ]

    @model_validator(mode="before")
    @classmethod
    def _either_name(cls, data: object) -> object:
        """The API has two names of this field; requests may have either, responses have both."""
        if not isinstance(data, Mapping) or data.get("served_model_name") is None:
            return data
        older = data["served_model_name"]
        if data.get("served_entity_name") not in (None, older):
            message = _(
                "served_entity_name and served_model_name must be the same. Give only served_entity_name."
            )
            raise as_validation_error([Problem(("served_entity_name",), message)])
        return {**data, "served_entity_name": older}


class TrafficConfig(ApiModel):
    routes: Annotated[
        list[Route],
        Field(
            max_length=MAX_SERVED_ENTITIES,
            description="One route for each served entity; the percentages must add up to 100.",
        ),
    ] = Field(default_factory=list)


class ConfigSpec(RequestBody):
    further_fields = ("name",)
    """Clients send the endpoint's name here as well."""

    served_entities: Annotated[
        list[ServedEntity],
        Field(
            min_length=1,
            max_length=MAX_SERVED_ENTITIES,
            description="An endpoint with an external model has exactly one, unless the server allows several.",
        ),
    ]
    traffic_config: Annotated[
        TrafficConfig,
        Field(description="Optional for a single served entity, which gets all queries."),
    ] = Field(default_factory=TrafficConfig)

    @model_validator(mode="after")
    def _default_route(self) -> Self:
        if len(self.served_entities) == 1 and not self.traffic_config.routes:
            route = Route(served_entity_name=self.served_entities[0].name, traffic_percentage=100)
            self.traffic_config.routes.append(route)
        return self

    @property
    def task(self) -> Task:
        return self.served_entities[0].external_model.task

    @property
    def is_external(self) -> bool:
        return True

    def secrets(self) -> dict[Path, Secret]:
        """All secrets of the config, by path in the body."""
        return {
            (*prefix, *path): secret
            for prefix, model in self._models()
            for path, secret in model.config.secrets().items()
        }

    def _models(self) -> Iterator[tuple[Path, ExternalModel]]:
        for position, entity in enumerate(self.served_entities):
            model = entity.external_model
            yield ("served_entities", position, "external_model", model.provider_entry.config_key), model

    def with_secrets(self, secrets: Mapping[Path, Secret]) -> ConfigSpec:
        """A copy of the config with the secrets at these paths replaced."""
        entities = list(self.served_entities)
        for position, (prefix, model) in enumerate(self._models()):
            own = {_as_strings(path[4:]): secret for path, secret in secrets.items() if path[:4] == prefix}
            if own:
                changed = model.model_copy(update={"config": model.config.with_secrets(own)})
                entities[position] = entities[position].model_copy(update={"external_model": changed})
        return self.model_copy(update={"served_entities": entities})

    def stored(self) -> dict[str, Any]:
        """The JSON for the database: references, and the ids of stored secrets. Raises ValueError for a plaintext."""
        return self._dumped(_dump_secret_for_storage)

    def public(self) -> dict[str, Any]:
        """The JSON for API responses: references, without other secrets."""
        return self._dumped(_dump_secret_for_api)

    def _dumped(self, dump_secret: DumpSecret) -> dict[str, Any]:
        return {
            "served_entities": [
                {"name": entity.name, "external_model": entity.external_model.dump(dump_secret)}
                for entity in self.served_entities
            ],
            "traffic_config": {
                "routes": [
                    {
                        "served_entity_name": route.served_entity_name,
                        "served_model_name": route.served_entity_name,
                        "traffic_percentage": route.traffic_percentage,
                    }
                    for route in self.traffic_config.routes
                ]
            },
        }

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> ConfigSpec:
        """Read the JSON of `stored()`. Raises SpecErrors if this version cannot read it."""
        try:
            return cls.model_validate(_with_stored_secrets(stored), context=TRUSTED)
        except ValidationError as error:
            problems = from_validation_error(error)
        raise SpecErrors(problems)


def _as_strings(path: Path) -> tuple[str, ...]:
    return tuple(str(part) for part in path)


def _dump_secret_for_storage(name: str, secret: Secret) -> dict[str, Any]:
    if secret.kind == "reference":
        return {name: secret.reference}
    if secret.kind == "stored":
        return {name + PLAINTEXT_SUFFIX: {"stored": secret.stored_id}}
    raise ValueError("A plaintext secret cannot be stored. Put it into the vault first.")


def _dump_secret_for_api(name: str, secret: Secret) -> dict[str, Any]:
    return {name: secret.reference} if secret.kind == "reference" else {}


def public_config(stored: Any) -> Any:
    """The same as `ConfigSpec.load(stored).public()`, but without building models, which is too slow for long lists."""
    if isinstance(stored, dict):  # not Mapping, for which isinstance takes three times as long
        return {
            name: public_config(value) if isinstance(value, dict | list) else value
            for name, value in stored.items()
            if not _is_stored(name, value)
        }
    if isinstance(stored, list):
        return [public_config(each) for each in stored]
    return stored


def _is_stored(name: str, value: Any) -> bool:
    return (
        isinstance(value, dict) and name.endswith(PLAINTEXT_SUFFIX) and isinstance(value.get("stored"), str)
    )


def _with_stored_secrets(part: Any) -> Any:
    """Converts ids of stored secrets to Secret. Never used on request bodies, where an id could be that of another user's secret."""
    if isinstance(part, Mapping):
        return dict(_read_stored(name, value) for name, value in part.items())
    if isinstance(part, list):
        return [_with_stored_secrets(each) for each in part]
    return part


def _read_stored(name: str, value: Any) -> tuple[str, Any]:
    if _is_stored(name, value):
        return name.removesuffix(PLAINTEXT_SUFFIX), Secret.from_stored(value["stored"])
    return name, _with_stored_secrets(value)
