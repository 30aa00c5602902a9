"""Every request body is either parsed or refused with problems; nothing else is raised."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from serving_ui.catalogue import registry
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.spec import ConfigSpec, EndpointSpec, parse_endpoint
from serving_ui.catalogue.tasks import Task
from tests.catalogue.samples import CANARY, REFERENCE

# Includes lone surrogates, which JSON escapes can contain and Python's parser accepts.
TEXT = st.text(alphabet=st.characters(), max_size=12) | st.text(
    alphabet=st.characters(categories=["Cs", "Cc"]), max_size=3
)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
ANYTHING = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
NAMES = sorted({name for each in registry.PROVIDERS.values() for name in each.config.accepted_fields()})
VALUES = ANYTHING | st.sampled_from(
    [REFERENCE, CANARY, "azure", "azuread", "https://host/v1", "2024-10-21", "", "us-east-1"]
)
BLOCKS = ANYTHING | st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)
MODELS = ANYTHING | st.fixed_dictionaries(
    {},
    optional={
        "provider": st.sampled_from(list(registry.PROVIDERS)) | ANYTHING,
        "name": st.sampled_from(["gpt-4o", "a:b.c"]) | ANYTHING,
        "task": st.sampled_from([task.value for task in Task]) | ANYTHING,
        **{each.config_key: BLOCKS for each in registry.PROVIDERS.values()},
    },
)
ENTITIES = ANYTHING | st.lists(
    ANYTHING | st.fixed_dictionaries({"external_model": MODELS}, optional={"name": ANYTHING}), max_size=3
)
CONFIGS = ANYTHING | st.fixed_dictionaries(
    {"served_entities": ENTITIES}, optional={"traffic_config": ANYTHING}
)
BODIES = ANYTHING | st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("an-endpoint") | ANYTHING,
        "config": CONFIGS,
        "description": ANYTHING,
        "tags": ANYTHING | st.lists(st.fixed_dictionaries({"key": ANYTHING, "value": ANYTHING}), max_size=2),
        "rate_limits": ANYTHING
        | st.lists(st.fixed_dictionaries({"calls": ANYTHING, "key": ANYTHING}), max_size=2),
    },
)


@settings(max_examples=300, deadline=None)
@given(body=BODIES, several=st.booleans())
def test_any_body_is_parsed_or_refused_with_problems(body: Any, several: bool) -> None:
    try:
        spec = parse_endpoint(body, several=several)
    except SpecErrors as error:
        assert error.problems
        assert all(problem.message.endswith(".") for problem in error.problems)
        assert CANARY not in repr(error.problems)
        assert len({(problem.path, problem.code) for problem in error.problems}) == len(error.problems)
    else:
        assert isinstance(spec, EndpointSpec)


@st.composite
def valid_blocks(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """(provider name, config): mostly valid, some fields of the provider with plausible values."""
    provider = draw(st.sampled_from(list(registry.PROVIDERS.values())))
    block = draw(
        st.dictionaries(
            st.sampled_from(sorted(provider.config.accepted_fields()) or ["none"]), VALUES, max_size=9
        )
    )
    return provider.name, block


@settings(max_examples=300, deadline=None)
@given(provider_and_block=valid_blocks(), task=st.sampled_from(list(Task)))
def test_a_parsed_config_is_unchanged_by_storage_and_form(
    provider_and_block: tuple[str, dict[str, Any]], task: Task
) -> None:
    provider = registry.get(provider_and_block[0])
    model = {
        "provider": provider.name,
        "name": "m",
        "task": task.value,
        provider.config_key: provider_and_block[1],
    }
    body = {"name": "e", "config": {"served_entities": [{"external_model": model}]}}
    try:
        config = parse_endpoint(body).config
    except SpecErrors:
        return
    assert config
    block = config.served_entities[0].external.config
    assert provider.config.model_validate(provider.config.nested(block.flat())) == block
    if not any(secret.kind == "plaintext" for secret in config.secrets().values()):
        assert ConfigSpec.load(config.stored()) == config
