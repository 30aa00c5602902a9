"""Own models behind the gateway: any JSON passes through unchanged, and a proxy that is gone is replaced by another."""

from __future__ import annotations

from typing import Any

import pytest

from serving_ui.catalogue.model_source import ModelSource, SourceKind
from serving_ui.catalogue.providers.ray_serve import RayServeConfig
from serving_ui.catalogue.tasks import Task
from serving_ui.gateway.circuit_breaker import MAX_FAILURES
from serving_ui.gateway.snapshot import Entity
from serving_ui.pages.presenters import samples
from tests.browser import code_samples
from tests.gateway.conftest import CHAT, GatewayServer, endpoint
from tests.support.vendor import Answer, Vendor
from tests.support.waiting import free_port

SCORES: dict[str, Any] = {"dataframe_split": {"columns": ["a"], "data": [[1.5]]}}


def own(*proxies: str, task: Task | None = None) -> Entity:
    first, *others = (RayServeConfig(url=f"{proxy}/serving-ui/route") for proxy in proxies)
    return Entity("iris-1", "ray-serve", "iris", task, first, tuple(others))


@pytest.mark.parametrize(
    "answered",
    [{"predictions": [0, 2]}, {"version": "1"}, {}, [1.5, None], "text", 7, None, {"error": "none"}],
)
def test_any_json_passes_through_in_both_directions(gateway: GatewayServer, vendor: Vendor, answered: Any):
    vendor.set_answers(Answer.json(answered))
    gateway.publish(endpoint("iris", own(vendor.url)))
    answer = gateway.query("iris", {**SCORES, "client_request_id": "mine"})
    assert (answer.status_code, answer.json()) == (200, answered)
    (sent,) = vendor.requests
    assert (sent.path, sent.json) == ("/serving-ui/route/invocations", SCORES)
    assert (gateway.usage.last.task, gateway.usage.last.model) == ("", "iris")


def test_an_answer_that_is_no_json_is_refused(gateway: GatewayServer, vendor: Vendor):
    vendor.set_answers(Answer(200, {"Content-Type": "text/html"}, (b"<html></html>",)))
    gateway.publish(endpoint("iris", own(vendor.url)))
    answer = gateway.query("iris", SCORES)
    assert (answer.status_code, "cannot be read" in answer.text) == (500, True)


def test_a_language_model_is_asked_in_the_format_of_openai(gateway: GatewayServer, vendor: Vendor):
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
    vendor.set_answers(Answer.json({"id": "1", "object": "chat.completion", "choices": [choice]}))
    gateway.publish(endpoint("llama", own(vendor.url, task=Task.CHAT)))
    assert gateway.query("llama").status_code == 200
    assert vendor.requests[0].path == "/serving-ui/route/v1/chat/completions"


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_the_paths_of_openai_are_refused_for_a_model_that_is_no_language_model(
    gateway: GatewayServer, vendor: Vendor, path: str
):
    gateway.publish(endpoint("iris", own(vendor.url)))
    answer = gateway.post(path, {**CHAT, "model": "iris", "input": "x"})
    assert (answer.status_code, "/serving-endpoints/iris/invocations" in answer.text) == (400, True)
    assert not vendor.requests


@pytest.mark.parametrize("body", [b"[1]", b"not json"])
def test_a_body_that_is_no_object_is_refused(gateway: GatewayServer, vendor: Vendor, body: bytes):
    gateway.publish(endpoint("iris", own(vendor.url)))
    assert gateway.post("iris/invocations", body).status_code == 400


def test_a_query_goes_to_the_next_proxy_when_one_is_gone(gateway: GatewayServer, vendor: Vendor):
    vendor.set_answers(Answer.json({"predictions": [1]}))
    gateway.publish(endpoint("iris", own(f"http://127.0.0.1:{free_port()}", vendor.url)))
    count = 2 * MAX_FAILURES  # more than it takes until the proxy that is gone gets no queries
    answers = [gateway.query("iris", SCORES).status_code for _ in range(count)]
    assert answers == [200] * count
    assert len(vendor.requests) == count


def test_what_the_model_answers_with_an_error_is_told(gateway: GatewayServer, vendor: Vendor):
    vendor.set_answers(
        Answer.json({"error_code": "BAD_REQUEST", "message": "Column b is missing."}, status=400)
    )
    gateway.publish(endpoint("iris", own(vendor.url)))
    answer = gateway.query("iris", SCORES)
    assert (answer.status_code, "Column b is missing." in answer.json()["message"]) == (400, True)


def test_a_fault_of_the_model_is_told_and_stops_no_other_query(gateway: GatewayServer, vendor: Vendor):
    fault = {
        "error": {"message": "RuntimeError: The weights are broken.", "type": "server_error", "code": 500}
    }
    gateway.publish(endpoint("iris", own(vendor.url)))
    for _ in range(12):
        vendor.set_answers(Answer.json(fault, status=500))
        answer = gateway.query("iris", SCORES)
        assert (answer.status_code, "The weights are broken." in answer.json()["message"]) == (500, True)
    assert len(vendor.requests) == 12
    vendor.set_answers(Answer.json({"predictions": [1]}))
    assert gateway.query("iris", SCORES).status_code == 200


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", ["curl", "requests", "mlflow", "databricks"])
def test_the_code_samples_of_the_query_page_run(gateway: GatewayServer, vendor: Vendor, key: str):
    columns = [{"name": "a", "type": "double"}, {"name": "b", "type": "string"}]
    source = ModelSource(SourceKind.MLFLOW, "models:/iris/1", signature={"inputs": columns})
    found = samples.code_samples(name="iris", task=None, base=gateway.url, source=source)
    (code,) = (each.code for each in found if each.key == key)
    vendor.set_answers(Answer.json({"predictions": ["setosa"]}))
    gateway.publish(endpoint("iris", own(vendor.url)))
    assert "setosa" in code_samples.run(code, token="token-owner", shell=key == "curl")
    assert vendor.requests[0].json == (
        {"dataframe_records": [{"a": 1.0, "b": "text"}]}
        if key == "databricks"
        else {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, "text"]]}}
    )
