"""A secret cannot be printed, logged, serialised or pickled, alone or inside other objects."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import pytest
from pydantic import BaseModel, ValidationError

from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.secret import Secret
from serving_ui.catalogue.spec import parse_endpoint
from tests.catalogue.samples import CANARY, REFERENCE, config_body, endpoint_body


class Holder(BaseModel):
    secret: Secret


PLAIN = Secret.from_plaintext(CANARY)


SPELLINGS = {
    "repr": repr(PLAIN),
    "str": str(PLAIN),
    "format": f"{PLAIN}",
    "format with a width": f"{PLAIN:>40}",
    "percent": "%s %r".__mod__((PLAIN, PLAIN)),
    "repr of a model": repr(Holder(secret=PLAIN)),
    "dump of a model": str(Holder(secret=PLAIN).model_dump()),
    "json of a model": Holder(secret=PLAIN).model_dump_json(),
    "in a dict": str({"nested": [PLAIN]}),
}


@pytest.mark.parametrize("way", SPELLINGS)
def test_no_string_conversion_shows_the_value(way: str) -> None:
    assert CANARY not in SPELLINGS[way]
    assert "<Secret>" in SPELLINGS[way]


def test_json_and_pickle_raise() -> None:
    for refuse in (
        json.dumps,
        pickle.dumps,
        lambda secret: secret.__getstate__(),
        lambda secret: secret.__reduce__(),
    ):
        with pytest.raises(TypeError) as refused:
            refuse(PLAIN)
        assert CANARY not in str(refused.value)


def test_logging_and_tracebacks_do_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    def fails(secret: Secret) -> None:
        raise RuntimeError(f"failed with {secret}")

    try:
        fails(PLAIN)
    except RuntimeError:
        logging.getLogger("catalogue").exception("It failed with %s.", PLAIN)
    assert caplog.text
    assert CANARY not in caplog.text


def test_a_secret_is_immutable_and_copies_are_the_same_object() -> None:
    with pytest.raises(AttributeError):
        PLAIN.kind = "stored"
    with pytest.raises(AttributeError):
        del PLAIN.kind
    with pytest.raises(TypeError):
        Secret()
    assert copy.deepcopy(PLAIN) is PLAIN
    assert copy.copy(PLAIN) is PLAIN
    assert not hasattr(PLAIN, "__dict__")


def test_secrets_are_equal_by_kind_and_content() -> None:
    assert Secret.from_plaintext("a") == Secret.from_plaintext("a")
    assert Secret.from_plaintext("a") != Secret.from_plaintext("b")
    assert Secret.from_plaintext("a") != Secret.from_stored("a")
    assert len({Secret.from_reference(REFERENCE), Secret.from_reference(REFERENCE)}) == 1
    assert Secret.from_plaintext("a") != "a"


def test_a_reference_has_scope_and_key_and_is_shown() -> None:
    secret = Secret.from_reference(" {{secrets/my.scope/a_key@1}} ")
    assert (secret.kind, secret.scope, secret.key) == ("reference", "my.scope", "a_key@1")
    assert repr(secret) == "<Secret reference {{secrets/my.scope/a_key@1}}>"
    with pytest.raises(ValueError, match="Resolve it first"):
        secret.reveal()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk-1",
        "{{secrets/a}}",
        "{{secrets/a/b/c}}",
        "{{secrets/a b/c}}",
        "x{{secrets/a/b}}",
        "{{secrets//b}}",
    ],
)
def test_other_texts_are_not_references(text: str) -> None:
    with pytest.raises(ValueError, match=r"looks like \{\{secrets/scope/key\}\}"):
        Secret.from_reference(text)


def test_only_a_plaintext_can_be_revealed() -> None:
    assert PLAIN.reveal() == CANARY
    with pytest.raises(ValueError, match="Resolve"):
        Secret.from_stored("id").reveal()
    with pytest.raises(ValueError, match="spelled out"):
        _ = PLAIN.reference


def test_pydantic_accepts_only_secrets_and_its_error_shows_no_value() -> None:
    with pytest.raises(ValidationError) as refused:
        Holder.model_validate({"secret": PLAIN, "other": 1} | {"secret": 5})
    assert "Secret" in str(refused.value)
    assert Holder.model_json_schema()["properties"]["secret"]["writeOnly"] is True


@pytest.mark.parametrize(
    "block",
    [
        {"openai_api_key": CANARY},
        {"openai_api_key": [CANARY]},
        {"openai_api_key_plaintext": {"a": CANARY}},
        {"openai_api_key_plaintext": f"{CANARY}\nx"},
        {"openai_api_key_plaintext": CANARY, "openai_api_key": REFERENCE},
        {"openai_api_key_plaintext": CANARY, "openai_api_base": 5},
        {"openai_api_key_plaintext": CANARY, "openai_api_base": f"https://{CANARY}@host"},
        {"openai_api_key_plaintext": CANARY, "openai_api_type": CANARY},
        {"anthropic_api_key_plaintext": CANARY},
        CANARY,
    ],
)
def test_the_error_of_a_refused_spec_shows_no_secret(block: object) -> None:
    model = {"provider": "openai", "name": "m", "task": "llm/v1/chat", "openai_config": block}
    try:
        parse_endpoint(endpoint_body(config=config_body(model)))
    except SpecErrors as error:
        text = "".join(traceback.format_exception(error)) + repr(error) + repr(error.problems)
        assert CANARY not in text
        assert error.__context__ is None
    else:
        pytest.fail("This should have been refused.")


def test_the_text_of_an_accepted_spec_shows_no_secret() -> None:
    block = {"openai_api_key_plaintext": CANARY}
    model = {"provider": "openai", "name": "m", "task": "llm/v1/chat", "openai_config": block}
    spec = parse_endpoint(endpoint_body(config=config_body(model)))
    for text in (
        repr(spec),
        str(spec),
        str(spec.model_dump()),
        spec.model_dump_json(),
        str(spec.config and spec.config.public()),
    ):
        assert CANARY not in text
    with pytest.raises(TypeError):
        pickle.dumps(spec)
