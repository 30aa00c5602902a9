"""What a model of MLflow answers: all forms of input, all kinds of results, and whose fault a failure is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.architecture.sources import ROOT
from tests.support.waiting import free_port, wait_until

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
SERVER = str(ROOT / "tests/engines/pyfunc_server.py")


@pytest.fixture(scope="module")
def address(ray_python: str) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([ray_python, SERVER, str(port)], env=environment) as process:
        try:
            wait_until(lambda: answers(url), what="the model", seconds=90)
            yield url
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/ping", timeout=5).ok
    except requests.ConnectionError:
        return False


def query(address: str, body: Any) -> tuple[int, Any]:
    answer = requests.post(f"{address}/invocations", json=body, timeout=60)
    return answer.status_code, answer.json()


def predicted(address: str, kind: str) -> Any:
    status, answer = query(address, {"dataframe_records": [{"kind": kind}]})
    assert (status, list(answer)) == (200, ["predictions"]), answer
    return answer["predictions"]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["kind", "size"], "data": [["echo", 1.5]]}},
        {"dataframe_split": {"index": [7], "columns": ["size", "kind"], "data": [[1.5, "echo"]]}},
        {"dataframe_records": [{"kind": "echo", "size": 1.5}]},
        {"inputs": {"kind": ["echo"], "size": [1.5]}},
        {"instances": [{"kind": "echo", "size": 1.5}]},
    ],
)
def test_all_forms_of_input_are_read(address: str, body: dict[str, Any]):
    rows = [{"kind": "echo", "size": 1.5}]
    assert query(address, body) == (200, {"predictions": {"rows": rows, "params": {"top": 3}}})
    status, answer = query(address, {**body, "params": {"top": 5}})
    assert (status, answer["predictions"]["params"]) == (200, {"top": 5})


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("frame", [{"n": 1.5, "at": "2026-01-31T00:00:00", "i": 1}, {"n": None, "at": None, "i": None}]),
        ("series", [{"0": 1}, {"0": 2}]),
        ("array", [[1, 2], [3, 4]]),
        ("scalar", 0.5),
        ("nan", [None, None, 1.0]),
        ("dict", {"label": ["a", "b"], "score": [0.5, None]}),
        ("list", ["a", None]),
        ("text", "a text"),
    ],
)
def test_all_kinds_of_results_are_json(address: str, kind: str, expected: Any):
    assert predicted(address, kind) == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "Send a JSON object with dataframe_split"),
        ({}, "must be a JSON dictionary with exactly one of the input fields"),
        ({"inputs": {"kind": ["echo"]}, "instances": []}, "exactly one of the input fields"),
        ({"dataframe_split": 7}, ""),
        ({"dataframe_split": {"columns": ["kind"], "data": [[1, 2, 3]]}}, ""),
        ({"dataframe_records": {"kind": "echo"}}, ""),
        ({"dataframe_records": [{"size": 1.5}]}, "Model is missing inputs ['kind']"),
        ({"dataframe_records": [{"kind": "echo", "size": "much"}]}, "much"),
        ({"inputs": "text"}, ""),
        ({"instances": 7}, ""),
        ({"dataframe_records": [{"kind": "echo"}], "params": {"top": "many"}}, "top"),
        ({"dataframe_records": [{"kind": "refused"}]}, "The kind is not known."),
    ],
)
def test_an_input_that_is_wrong_is_refused_in_a_sentence(address: str, body: Any, words: str):
    status, answer = query(address, body)
    message = answer["error"]["message"]
    assert status == 400, message
    assert words in message
    assert 5 < len(message) <= 1000
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("fault", "RuntimeError: The weights are broken."),
        ("bug", "KeyError: 'missing'"),
        ("mlflow", "MlflowException: The registry is gone."),
        ("set", "TypeError: Object of type set is not JSON serializable"),
    ],
)
def test_a_fault_of_the_model_is_told_by_its_last_line(address: str, kind: str, message: str):
    status, answer = query(address, {"dataframe_records": [{"kind": kind}]})
    assert (status, answer["error"]["message"]) == (500, message)
