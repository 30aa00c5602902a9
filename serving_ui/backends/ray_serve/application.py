"""One own model as an application of Ray Serve: the entry of it in the body of `PUT /api/serve/applications/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving_ui.catalogue.compute import Compute
from serving_ui.catalogue.model_source import ModelSource, SourceKind
from serving_ui.catalogue.tasks import Task

PREFIX = "serving-ui."
"""The names of our applications start with it; all others belong to somebody else and are left as they are."""
LOADING_SHUTDOWN_SECONDS = 1.0
"""`graceful_shutdown_seconds` until the model has been ready once: nothing is lost when its replicas are killed."""
SERVING_SHUTDOWN_SECONDS = 300.0
IDLE_SECONDS = 1800.0
DEPLOYMENT = "Model"
_QUEUED_SHARE = 0.75  # more replicas are started when this share of the concurrency is in use
_PATHS = {
    None: "/invocations",
    Task.CHAT: "/v1/chat/completions",
    Task.COMPLETIONS: "/v1/completions",
    Task.EMBEDDINGS: "/v1/embeddings",
}


@dataclass(frozen=True)
class Application:
    """`environment` are the environment variables of the replicas, with plaintext secrets.

    Running requests of a replica that is stopped get `graceful_shutdown_seconds` to finish. Changing it restarts nothing.
    A model that scales to zero is stopped after `idle_seconds` without requests.
    """

    name: str
    route_prefix: str
    source: ModelSource
    compute: Compute
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    graceful_shutdown_seconds: float = LOADING_SHUTDOWN_SECONDS
    idle_seconds: float = IDLE_SECONDS

    @property
    def model_id(self) -> str:
        """The name of the model in OpenAI requests and responses of the replicas."""
        return self.name

    @property
    def query_path(self) -> str:
        """Where queries are sent, below the address of a proxy."""
        return self.route_prefix + _PATHS[self.source.task]

    @property
    def probe_path(self) -> str:
        """Answered with 200 by a replica whose model is loaded."""
        return self.route_prefix + ("/v1/models" if self.source.kind == SourceKind.VLLM else "/ping")

    def config(self) -> dict[str, Any]:
        """The entry of the application."""
        is_vllm = self.source.kind == SourceKind.VLLM
        return {
            "name": self.name,
            "route_prefix": self.route_prefix,
            **(self._vllm() if is_vllm else self._own()),
        }

    def _own(self) -> dict[str, Any]:
        source, compute = self.source, self.compute
        arguments = dict(source.engine_arguments)
        if source.tracking_uri:
            arguments["tracking_uri"] = source.tracking_uri
        return {
            "import_path": "serving_ui.backends.ray_serve.deployments.replica:build",
            "runtime_env": self._packages(),
            "args": {
                "kind": source.kind.value,
                "location": source.location,
                "task": source.task.value if source.task else None,
                "engine_arguments": arguments,
                "model_id": self.model_id,
                "concurrency": compute.concurrency_per_replica,
                "cpus": compute.cpus,
            },
            "deployments": [
                {
                    "name": DEPLOYMENT,
                    "ray_actor_options": {"num_cpus": compute.cpus, "num_gpus": compute.gpus},
                    "user_config": {"environment": dict(self.environment)},
                    **self._deployment(),
                }
            ],
        }

    def _vllm(self) -> dict[str, Any]:
        """For Ray's own builder of LLM applications. Each replica gets its GPUs by tensor parallelism, and Ray sets them aside."""
        source, compute = self.source, self.compute
        engine = dict(source.engine_arguments)
        if compute.gpus > 1:
            engine.setdefault("tensor_parallel_size", int(compute.gpus))
        llm = {
            "model_loading_config": {"model_id": self.model_id, "model_source": source.location},
            "engine_kwargs": engine,
            "deployment_config": self._deployment(),
            # Ray writes these variables to runtime_env_agent.log on its nodes; its builder knows no other way.
            "runtime_env": {**self._packages(), "env_vars": dict(self.environment)},
        }
        return {"import_path": "ray.serve.llm:build_openai_app", "args": {"llm_configs": [llm]}}

    def _deployment(self) -> dict[str, Any]:
        compute = self.compute
        common = {
            "max_ongoing_requests": compute.concurrency_per_replica,
            "graceful_shutdown_timeout_s": self.graceful_shutdown_seconds,
        }
        if compute.min_replicas == compute.max_replicas:
            return {"num_replicas": compute.max_replicas, **common}
        scaling = {
            "min_replicas": compute.min_replicas,
            "max_replicas": compute.max_replicas,
            "initial_replicas": max(compute.min_replicas, 1),  # so that a model that does not load is noticed
            "target_ongoing_requests": compute.concurrency_per_replica * _QUEUED_SHARE,
            "metrics_interval_s": 1.0,
            "look_back_period_s": 2.0,
            "upscale_delay_s": 2.0,
            "downscale_delay_s": 300.0,
        }
        if compute.scales_to_zero:
            scaling["downscale_to_zero_delay_s"] = self.idle_seconds
        return {"autoscaling_config": scaling, **common}

    def _packages(self) -> dict[str, Any]:
        packages = list(self.source.packages)
        return {"pip": {"packages": packages, "pip_check": False}} if packages else {}
