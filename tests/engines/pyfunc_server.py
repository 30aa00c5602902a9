"""Serves a model of MLflow on a port, as a replica does, without Ray. Run by the Python of the cluster: argument is the port.

The column `kind` of the first row says what the model returns or raises.
"""

# mypy: ignore-errors
# Its imports exist in the environment of the cluster only.

from __future__ import annotations

import sys
import tempfile
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import uvicorn
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from starlette.requests import Request

from serving_ui.backends.ray_serve.deployments.replica import Replica

TIMES = pd.to_datetime(["2026-01-31", None])
RESULTS: dict[str, Any] = {
    "frame": pd.DataFrame({"n": [1.5, np.nan], "at": TIMES, "i": pd.array([1, None], dtype="Int64")}),
    "series": pd.Series([1, 2]),
    "array": np.array([[1, 2], [3, 4]], dtype="int32"),
    "scalar": np.float32(0.5),
    "nan": np.array([np.nan, np.inf, 1.0]),
    "dict": {"label": np.array(["a", "b"]), "score": [np.float64(0.5), float("nan")]},
    "list": ["a", None],
    "text": "a text",
    "set": {1, 2},
}


class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        kind = str(model_input["kind"].iloc[0])
        if kind == "fault":
            raise RuntimeError("Traceback (most recent call last):\n  File x\nThe weights are broken.")
        if kind == "bug":
            return {}["missing"]
        if kind == "refused":
            raise MlflowException("The kind is not known.", error_code=INVALID_PARAMETER_VALUE)
        if kind == "mlflow":
            raise MlflowException("The registry is gone.")
        if kind == "echo":
            return {"rows": model_input.to_dict(orient="records"), "params": params}
        return RESULTS[kind]


async def serve(scope: Any, receive: Any, send: Any) -> None:
    response = await replica(Request(scope, receive))
    await response(scope, receive, send)


with tempfile.TemporaryDirectory() as folder:
    columns = Schema([ColSpec("string", "kind"), ColSpec("double", "size", required=False)])
    params = ParamSchema([ParamSpec("top", "long", 3)])
    mlflow.pyfunc.save_model(
        f"{folder}/model",
        python_model=Model(),
        signature=ModelSignature(inputs=columns, params=params),
        pip_requirements=[],
    )
    replica = Replica(
        {
            "kind": "mlflow",
            "location": f"{folder}/model",
            "task": None,
            "engine_arguments": {},
            "model_id": "m",
            "concurrency": 2,
            "cpus": 1,
        }
    )
    replica.reconfigure({"environment": {}})
    uvicorn.run(serve, host="127.0.0.1", port=int(sys.argv[1]), lifespan="off", log_level="warning")
