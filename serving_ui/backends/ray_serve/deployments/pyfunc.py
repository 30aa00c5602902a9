"""A model version of an MLflow registry, of any flavour that MLflow loads as pyfunc."""

from __future__ import annotations

import json
import os
from typing import Any

from serving_ui.backends.ray_serve.deployments.served_model import InvalidRequest, ServedModel

MAX_REASON = 1000


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
        """An input that MLflow refuses is status 400; everything else that goes wrong is the model's fault, status 500."""
        from mlflow.pyfunc import scoring_server  # noqa: PLC0415 - exists in the replica's environment only

        if not isinstance(body, dict):
            raise InvalidRequest(
                "Send a JSON object with dataframe_split, dataframe_records, inputs or instances."
            )
        model = _CalledModel(self._model)
        try:
            invoke: Any = scoring_server.invocations
            response = invoke(json.dumps(body), "application/json", model, self._schema)
        except (
            Exception
        ) as problem:  # of MLflow or of the model, which is anybody's code; always raised again
            if model.fault:
                raise model.fault from None  # MLflow hides it behind a general sentence
            if not model.was_called or _is_refused_input(problem):
                raise InvalidRequest(_sentence(problem)) from problem
            raise
        return json.loads(response.response, parse_constant=lambda _nan: None)


class _CalledModel:
    """The model, as MLflow's scoring server needs it.

    `was_called` says that the input could be read. `fault` is what the model raised, unless that is an exception of MLflow.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.metadata = model.metadata
        self.was_called = False
        self.fault: Exception | None = None

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Missing values of a table become None, which JSON can express: pandas has three kinds of them."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - exists in the replica's environment only

        self.was_called = True
        try:
            found = self._model.predict(data, params=params)
        except MlflowException:
            raise
        except Exception as problem:  # of the model; MLflow would hide it
            self.fault = problem
            raise
        return found.astype(object).where(found.notna(), None) if hasattr(found, "notna") else found


def _is_refused_input(problem: Exception) -> bool:
    """Whether MLflow, or the model with an exception of MLflow, says that the caller's input is wrong."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - exists in the replica's environment only

    if not isinstance(problem, MlflowException):
        return False
    status_of: Any = type(problem).get_http_status_code
    return bool(status_of(problem) == 400)


def _sentence(problem: Exception) -> str:
    """The innermost reason. MLflow puts the whole input and general advice around it."""
    words = str(getattr(problem, "message", "") or f"{type(problem).__name__}: {problem}")
    reason = words.rpartition("Error: ")[2].partition("IMPORTANT:")[0].strip()
    return reason[:MAX_REASON]
