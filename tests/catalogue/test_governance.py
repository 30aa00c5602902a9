"""AI gateway settings and notifications are stored as sent, and settings without effect cause a warning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_ui.catalogue.endpoint_settings import AiGateway, EmailNotifications
from serving_ui.catalogue.limit_kinds import LIMIT_KEYS, LIMIT_UNITS, RENEWAL_PERIOD
from serving_ui.catalogue.limits import RateLimit
from serving_ui.catalogue.problems import SpecErrors
from serving_ui.catalogue.spec import parse_endpoint

WHOLE: dict[str, Any] = {
    "fallback_config": {"enabled": True},
    "guardrails": {
        "input": {
            "invalid_keywords": ["secret"],
            "pii": {"behavior": "BLOCK"},
            "safety": True,
            "valid_topics": ["cats"],
        },
        "output": {"pii": {"behavior": "MASK"}},
    },
    "inference_table_config": {
        "catalog_name": "main",
        "enabled": True,
        "schema_name": "logs",
        "table_name_prefix": "chat",
    },
    "rate_limits": [
        {"calls": 5, "key": "user", "renewal_period": "minute"},
        {"tokens": 50, "key": "user_group", "principal": "team", "renewal_period": "minute"},
    ],
    "usage_tracking_config": {"enabled": True},
}


def test_all_known_settings_are_stored_as_sent():
    settings = AiGateway.parsed(WHOLE)
    assert settings.stored() == WHOLE
    assert settings.unknown == []
    assert settings.without_effect() == ["guardrails", "inference_table_config"]


def test_disabled_settings_cause_no_warning():
    assert AiGateway.parsed({"inference_table_config": {"enabled": False}}).without_effect() == []


def test_null_is_the_same_as_a_missing_field():
    assert AiGateway.parsed(dict.fromkeys(WHOLE)).stored() == {}


def test_unknown_fields_are_reported_with_their_path():
    body = {"guardrails": {"input": {"pii": {"mood": 1}}}, "rate_limits": [{"calls": 1, "hue": 2}], "x": 3}
    assert AiGateway.parsed(body).unknown == ["x", "guardrails.input.pii.mood", "rate_limits[0].hue"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(AiGateway.model_fields, json_values)))
def test_any_body_is_accepted_or_refused_with_paths(body):
    try:
        settings = AiGateway.parsed(body)
    except SpecErrors as errors:
        assert all(problem.path and problem.message for problem in errors.problems)
    else:
        assert AiGateway.parsed(settings.stored()) == settings


def test_a_notification_address_must_be_an_e_mail_address():
    assert EmailNotifications.parsed({"on_update_success": ["a@b.c"]}, "email_notifications").stored() == {
        "on_update_success": ["a@b.c"]
    }
    with pytest.raises(SpecErrors) as caught:
        EmailNotifications.parsed({"on_update_success": ["a@b.c", "a b"]}, "email_notifications")
    assert caught.value.problems[0].path == ("email_notifications", "on_update_success", 1)


def test_route_optimization_is_refused_at_its_field():
    with pytest.raises(SpecErrors) as caught:
        parse_endpoint({"name": "chat", "config": {}, "route_optimized": True})
    assert ("route_optimized",) in {problem.path for problem in caught.value.problems}


def test_every_kind_of_limit_is_accepted_with_its_required_fields():
    for name, key in LIMIT_KEYS.items():
        who = {"principal": "somebody"} if key.needs_principal else {}
        for unit in LIMIT_UNITS:
            limit = RateLimit.model_validate({"key": name, unit: 1, **who})
            assert limit.stored() == {"key": name, unit: 1, "renewal_period": RENEWAL_PERIOD, **who}
