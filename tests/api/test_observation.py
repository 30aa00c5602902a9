"""Metrics, logs, events and config versions of an endpoint."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving_ui.endpoints.models import Endpoint
from serving_ui.gateway.spool import Spool
from serving_ui.lib import clock
from serving_ui.usage.ingest import ingest
from tests.api.conftest import Caller
from tests.conftest import openai_body
from tests.endpoints.conftest import settle
from tests.support.sandbox import SandboxServer
from tests.usage.conftest import record

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Endpoint]
CHAT = "/serving-endpoints/chat"
SAMPLE = re.compile(r'[a-z0-9_]+\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\} -?\d+(\.\d+)?')


def update(api: Caller, sandbox: SandboxServer) -> None:
    api.request_json("PUT", f"{CHAT}/config", openai_body(base=sandbox.base, model="gpt-4o")["config"])


def test_metrics_are_in_prometheus_text_format(api: Caller, deployed: Make):
    deployed("chat", rate_limits=[{"calls": 7}])
    reply = api.request("GET", f"{CHAT}/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain")
    lines = reply.content.decode().splitlines()
    assert 'serving_ui_endpoint_ready{endpoint="chat"} 1' in lines
    assert 'serving_ui_endpoint_rate_limit_calls{endpoint="chat",key="endpoint",principal=""} 7' in lines
    assert all(line.startswith("# ") or SAMPLE.fullmatch(line) for line in lines)


def test_metrics_contain_each_limit_once(api: Caller, deployed: Make):
    """Prometheus rejects the whole response if a sample appears twice."""
    both = {"calls": 9, "tokens": 500}
    deployed(
        "chat",
        rate_limits=[{"calls": 7}, {"key": "user", **both}, {"key": "user", "principal": "owner@example.com", "calls": 2}],
        ai_gateway={"rate_limits": [{"key": "endpoint", "calls": 3, "renewal_period": "minute"}]},
    )  # fmt: skip
    content = api.request("GET", f"{CHAT}/metrics").content.decode()
    found = [
        (sample.name.removeprefix("serving_ui_endpoint_rate_limit_"), sample.labels["key"], sample.labels["principal"], sample.value)
        for family in text_string_to_metric_families(content)
        for sample in family.samples
        if "rate_limit" in sample.name
    ]  # fmt: skip
    assert sorted(found) == [
        ("calls", "endpoint", "", 3),
        ("calls", "user", "", 9),
        ("calls", "user", "owner@example.com", 2),
        ("tokens", "user", "", 500),
    ]


def test_metrics_contain_the_total_number_of_responses(api: Caller, deployed: Make, tmp_path: Path):
    deployed("chat")
    spool = Spool(tmp_path)
    for status, took in ((200, 40.0), (200, 7.0), (429, 0.3), (502, 900.0)):
        spool.record(
            record(
                endpoint_id=Endpoint.objects.get(name="chat").id, status=status, total_ms=took, tokens_in=3
            )
        )
    ingest(folder=tmp_path, clock=clock.now)
    spool.stop()
    lines = api.request("GET", f"{CHAT}/metrics").content.decode().splitlines()
    label = 'endpoint="chat",served_entity="entity"'
    assert f"request_count_total{{{label}}} 4" in lines
    assert f"request_4xx_count_total{{{label}}} 1" in lines
    assert f"request_5xx_count_total{{{label}}} 1" in lines
    assert f"input_tokens_total{{{label}}} 12" in lines
    assert f'request_latency_ms_bucket{{{label},le="50"}} 3' in lines
    assert f"request_latency_ms_sum{{{label}}} 947.3" in lines
    assert all(line.startswith("# ") or SAMPLE.fullmatch(line) for line in lines)


def test_events_are_listed_newest_first(api: Caller, deployed: Make, sandbox: SandboxServer):
    deployed("chat")
    update(api, sandbox)
    api.request_json("POST", f"{CHAT}/config:cancel")
    events = api.get(f"{CHAT}/events")["events"]
    assert events[0]["type"] == "ENDPOINT_UPDATE_CANCELED_EVENT"
    assert events[0]["actor"] == "owner@example.com"
    assert events[0]["config_version"] == 2
    assert events[-1]["type"] == "ENDPOINT_CREATION_EVENT"
    assert "owner@example.com" in events[-1]["message"]
    times = [event["timestamp"] for event in events]
    assert times == sorted(times, reverse=True)


def test_config_versions_show_every_submitted_config(api: Caller, deployed: Make, sandbox: SandboxServer):
    deployed("chat")
    sandbox.set_faults(on="models", status=401)
    update(api, sandbox)
    settle(Endpoint.objects.get(name="chat"))
    newest, oldest = api.get(f"{CHAT}/config-versions")["config_versions"]
    assert (newest["config_version"], newest["outcome"]) == (2, "FAILED")
    assert newest["message"]
    assert newest["settled_timestamp"] >= newest["creation_timestamp"]
    assert newest["creator"] == "owner@example.com"
    assert (oldest["config_version"], oldest["outcome"]) == (1, "ACTIVE")
    assert oldest["config"] == api.get(CHAT)["config"]


def test_logs_of_an_external_model_are_its_events(api: Caller, deployed: Make):
    deployed("chat")
    logs = api.get(f"{CHAT}/served-models/entity/logs")["logs"].splitlines()
    assert "Created by owner@example.com" in logs[0]
    assert "version 1 is active" in logs[-1]
    assert "Nothing is built" in api.get(f"{CHAT}/served-models/entity/build-logs")["logs"]


@pytest.mark.parametrize("kind", ["logs", "build-logs"])
def test_logs_of_an_unknown_entity_are_refused(api: Caller, deployed: Make, kind: str):
    deployed("chat")
    refused = api.request("GET", f"{CHAT}/served-models/other/{kind}")
    assert refused.error == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("path", ["metrics", "events", "config-versions", "served-models/entity/logs"])
def test_a_stranger_gets_404(as_stranger: Caller, deployed: Make, path: str):
    deployed("chat")
    assert as_stranger.request("GET", f"{CHAT}/{path}").error == (404, "RESOURCE_DOES_NOT_EXIST")
