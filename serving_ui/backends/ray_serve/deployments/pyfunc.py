"""A model version of an MLflow registry, of any flavour that MLflow loads as pyfunc."""

from __future__ import annotations

import json
import os
from typing import Any

from serving_ui.backends.ray_serve.deployments.served_model import InvalidRequest, ServedModel


class PyFunc(ServedModel):
    """Answers `dataframe_split`, `dataframe_records`, `inputs` and `instances` as MLflow's own scoring server does."""

    def load(self) -> None:
        import mlflow  # noqa: PLC0415 - exists in the replica's environment only

        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # not the 7 that take minutes
        if uri := self.arguments.get("tracking_uri"):
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
        self._model = mlflow.pyfunc.load_model(self.location)
        self._schema = self._model.metadata.get_input_schema()

    def predict(self, body: Any) -> Any:
        from mlflow.pyfunc import scoring_server  # noqa: PLC0415 - exists in the replica's environment only

        if not isinstance(body, dict):
            raise InvalidRequest(
                "Send a JSON object with dataframe_split, dataframe_records, inputs or instances."
            )
        try:
            invoke: Any = scoring_server.invocations
            response = invoke(json.dumps(body), "application/json", self._model, self._schema)
        except Exception as problem:  # what the model, which is anybody's code, says of this input
            raise InvalidRequest(_sentence(problem)) from problem
        return json.loads(response.response)


def _sentence(problem: Exception) -> str:
    """The model's own exception, which MLflow hides behind a general sentence."""
    cause = problem.__context__
    if getattr(problem, "stack_trace", None) and cause is not None:
        return f"{type(cause).__name__}: {cause}"
    return str(getattr(problem, "message", "") or problem)
