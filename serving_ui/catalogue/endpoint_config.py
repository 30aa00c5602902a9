"""The config of an endpoint: its served entities and how traffic is divided among them.

The stored config contains no plaintext secrets, and the public one contains only references of secrets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StrictInt, ValidationError, model_validator

from serving_ui.catalogue import names
from serving_ui.catalogue.api_model import ApiModel, RequestBody
from serving_ui.catalogue.block_parser import PLAINTEXT_SUFFIX
from serving_ui.catalogue.problems import (
    Path,
    Problem,
    SpecErrors,
    as_validation_error,
    from_validation_error,
)
from serving_ui.catalogue.provider_config import TRUSTED
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.served_entity import DumpSecret, Kind, ServedEntity
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.translatable import _

MAX_SERVED_ENTITIES = 10


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
    def task(self) -> Task | None:
        """The task of all served entities; None for own models that answer any JSON."""
        return self.served_entities[0].task

    @property
    def kind(self) -> Kind:
        return self.served_entities[0].kind

    def secrets(self) -> dict[Path, Secret]:
        """All secrets of the config, by path in the body."""
        return {
            (*prefix, *path): secret
            for position, entity in enumerate(self.served_entities)
            for prefix, secrets in (_secrets_of(position, entity),)
            for path, secret in secrets.items()
        }

    def with_secrets(self, secrets: Mapping[Path, Secret]) -> ConfigSpec:
        """A copy of the config with the secrets at these paths replaced."""
        entities = list(self.served_entities)
        for position, entity in enumerate(self.served_entities):
            prefix, _own = _secrets_of(position, entity)
            depth = len(prefix)
            own = {
                _as_strings(path[depth:]): each for path, each in secrets.items() if path[:depth] == prefix
            }
            if own:
                entities[position] = _with_secrets(entity, own)
        return self.model_copy(update={"served_entities": entities})

    def with_tasks(self, tasks: Sequence[Task | None]) -> ConfigSpec:
        """A copy of a config of own models with the tasks of the registered models, one for each served entity."""
        entities = [
            entity.model_copy(update={"own_model": entity.own.model_copy(update={"task": task})})
            for entity, task in zip(self.served_entities, tasks, strict=True)
        ]
        return self.model_copy(update={"served_entities": entities})

    def stored(self) -> dict[str, Any]:
        """The JSON for the database: references, and the ids of stored secrets. Raises ValueError for a plaintext."""
        return self._dumped(_dump_secret_for_storage)

    def public(self) -> dict[str, Any]:
        """The JSON for API responses: references, without other secrets."""
        shown: dict[str, Any] = public_config(self._dumped(_dump_secret_for_api))
        return shown

    def _dumped(self, dump_secret: DumpSecret) -> dict[str, Any]:
        return {
            "served_entities": [entity.dump(dump_secret) for entity in self.served_entities],
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


def _secrets_of(position: int, entity: ServedEntity) -> tuple[Path, Mapping[tuple[str, ...], Secret]]:
    """The secrets of one served entity, by their path below the path that is returned, too."""
    if entity.own_model is not None:
        variables: dict[tuple[str, ...], Secret] = {
            (name,): secret for name, secret in entity.own_model.secrets().items()
        }
        return ("served_entities", position, "environment_vars"), variables
    model = entity.external
    return (
        "served_entities",
        position,
        "external_model",
        model.provider_entry.config_key,
    ), model.config.secrets()


def _with_secrets(entity: ServedEntity, secrets: Mapping[tuple[str, ...], Secret]) -> ServedEntity:
    if entity.own_model is not None:
        variables = {name: secret for (name,), secret in secrets.items()}
        return entity.model_copy(update={"own_model": entity.own_model.with_secrets(variables)})
    model = entity.external
    changed = model.model_copy(update={"config": model.config.with_secrets(secrets)})
    return entity.model_copy(update={"external_model": changed})


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
            if not _is_stored(name, value) and not (name in _INTERNAL and _is_internal(name, stored))
        }
    if isinstance(stored, list):
        return [public_config(each) for each in stored]
    return stored


_INTERNAL = frozenset({"external_model", "task"})


def _is_internal(name: str, entity: Mapping[str, Any]) -> bool:
    """How the gateway reaches a foundation model, and the task of an own model, which is that of the endpoint."""
    return (name == "external_model" and "foundation_model" in entity) or (
        name == "task" and "entity_name" in entity
    )


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
