"""Served entities that run a model of one's own: validation, default values, secrets, what is stored and shown."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.catalogue.compute import Compute, compute_of
from serving_ui.catalogue.endpoint_config import ConfigSpec, public_config
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.spec import destinations, differences, parse_config
from serving_ui.catalogue.tasks import Task
from serving_ui.catalogue.upstream import Addresses

IRIS = {"entity_name": "main.default.iris", "entity_version": "3"}


def config(**fields: Any) -> ConfigSpec:
    return parse_config({"served_entities": [{**IRIS, **fields}]})


def problems(**fields: Any) -> set[str]:
    with pytest.raises(SpecErrors) as refused:
        config(**fields)
    return {str(problem.path[-1]) for problem in refused.value.problems}


def test_the_smallest_own_model_is_small_on_a_cpu():
    one = config()
    assert (one.kind, one.task, one.served_entities[0].name) == (Kind.OWN_MODEL, None, "main-default-iris-3")
    assert one.public()["served_entities"] == [
        {
            "name": "main-default-iris-3",
            **IRIS,
            "workload_type": "CPU",
            "workload_size": "Small",
            "scale_to_zero_enabled": False,
        }
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (1, 1)),
        ({"workload_size": "Medium"}, (2, 4)),
        ({"workload_size": "Large", "scale_to_zero_enabled": True}, (0, 16)),
        ({"min_provisioned_concurrency": 8, "max_provisioned_concurrency": 12}, (2, 3)),
        ({"max_provisioned_concurrency": 4}, (0, 1)),
        ({"min_provisioned_throughput": 0, "max_provisioned_throughput": 980}, (0, 2)),
        ({"min_provisioned_throughput": 490, "max_provisioned_throughput": 980}, (1, 2)),
        ({"provisioned_model_units": 3}, (3, 6)),
        ({"provisioned_model_units": 3, "burst_scaling_enabled": False}, (3, 3)),
    ],
)
def test_a_size_becomes_replicas(fields: dict[str, Any], expected: tuple[int, int]):
    compute = compute_of(config(**fields).served_entities[0].own, throughput_chunk_size=490)
    assert compute == Compute(1, 0, *expected)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"entity_version": " "}, {"entity_version"}),
        ({"entity_name": 5}, {"entity_name"}),
        ({"workload_size": "Huge"}, {"workload_size"}),
        ({"workload_type": "TPU"}, {"workload_type"}),
        ({"workload_size": "Small", "max_provisioned_concurrency": 4}, {"max_provisioned_concurrency"}),
        ({"max_provisioned_concurrency": 5}, {"max_provisioned_concurrency"}),
        (
            {"min_provisioned_concurrency": 8, "max_provisioned_concurrency": 4},
            {"min_provisioned_concurrency"},
        ),
        ({"min_provisioned_throughput": 8}, {"max_provisioned_throughput"}),
        ({"max_provisioned_throughput": 0}, {"max_provisioned_throughput"}),
        ({"provisioned_model_units": 0}, {"provisioned_model_units"}),
        ({"scale_to_zero_enabled": "yes"}, {"scale_to_zero_enabled"}),
        ({"environment_vars": {"1A": "x"}}, {"1A"}),
        ({"environment_vars": {"A": 5}}, {"A"}),
        ({"environment_vars": ["A"]}, {"environment_vars"}),
        ({"instance_profile_arn": "arn:aws:iam::1:x"}, {"instance_profile_arn"}),
        ({"foundation_model": {"name": "x", "display_name": "x"}}, {"foundation_model"}),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, Any], named: set[str]):
    assert problems(**fields) == named


def test_only_an_exact_reference_is_a_secret():
    one = config(environment_vars={"KEY": "{{secrets/team/key}}", "URL": "see {{secrets/team/key}}"})
    path = ("served_entities", 0, "environment_vars", "KEY")
    assert one.secrets() == {path: Secret.from_reference("{{secrets/team/key}}")}
    plain = one.with_secrets({path: Secret.from_plaintext("a-value")})
    assert plain.served_entities[0].own.environment_vars["KEY"] == Secret.from_plaintext("a-value")
    assert one.public()["served_entities"][0]["environment_vars"] == {
        "KEY": "{{secrets/team/key}}",
        "URL": "see {{secrets/team/key}}",
    }


def test_what_is_stored_can_be_read_again_and_shows_no_task():
    one = config(environment_vars={"KEY": "{{secrets/team/key}}"}).with_tasks([Task.CHAT])
    stored = one.stored()
    assert (ConfigSpec.load(stored), ConfigSpec.load(stored).task) == (one, Task.CHAT)
    assert (
        public_config(stored)
        == one.public()
        == config(environment_vars={"KEY": "{{secrets/team/key}}"}).public()
    )


def test_a_request_cannot_set_the_task():
    assert config(task="llm/v1/chat").task is None


def test_a_secret_is_for_one_version_of_one_model():
    def sent(**fields: Any) -> frozenset[str]:
        return destinations(config(**fields).served_entities[0], Addresses({}))

    assert sent() == sent(workload_size="Large")
    assert (
        len({sent(), sent(entity_version="4"), sent(entity_name="b"), sent(environment_vars={"A": "b"})}) == 4
    )


def test_differences_have_the_labels_of_the_form():
    assert [*map(str, differences(config(), config(workload_size="Large", scale_to_zero_enabled=True)))] == [
        "Compute scale-out",
        "Scale to zero",
    ]


def test_a_foundation_model_shows_not_how_it_is_reached():
    stored = {
        "served_entities": [
            {
                "name": "llama",
                "foundation_model": {"name": "llama", "display_name": "Llama", "description": "", "docs": ""},
                "external_model": {
                    "provider": "custom",
                    "name": "llama",
                    "task": "llm/v1/chat",
                    "custom_provider_config": {"custom_provider_url": "http://127.0.0.1:1/v1"},
                },
            }
        ]
    }
    one = ConfigSpec.load(stored)
    assert (one.kind, one.task, one.stored()["served_entities"]) == (
        Kind.FOUNDATION_MODEL,
        Task.CHAT,
        stored["served_entities"],
    )
    assert one.public() == public_config(one.stored())
    assert one.public()["served_entities"] == [
        {"name": "llama", "foundation_model": stored["served_entities"][0]["foundation_model"]}
    ]
