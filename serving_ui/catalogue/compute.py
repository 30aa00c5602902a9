"""The compute of an own model: what each replica asks of the cluster, and how many replicas there may be.

A replica answers CONCURRENCY_PER_REPLICA requests at a time. A size of the API is a range of concurrent requests. Throughput is counted
in chunks, of which one replica is expected to reach one; a model unit is one replica.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from serving_ui.catalogue.own_model import OwnModel, WorkloadSize, WorkloadType

CONCURRENCY_PER_REPLICA = 4
SIZES: dict[WorkloadSize, tuple[int, int]] = {
    WorkloadSize.SMALL: (4, 4),
    WorkloadSize.MEDIUM: (8, 16),
    WorkloadSize.LARGE: (16, 64),
}
"""The least and the most concurrent requests of each size, as Databricks documents them."""
HARDWARE: dict[WorkloadType, tuple[float, float]] = {
    WorkloadType.CPU: (1, 0),
    WorkloadType.CPU_MEDIUM: (2, 0),
    WorkloadType.CPU_LARGE: (4, 0),
    WorkloadType.GPU_SMALL: (4, 1),
    WorkloadType.GPU_MEDIUM: (8, 1),
    WorkloadType.GPU_LARGE: (16, 1),
    WorkloadType.GPU_XLARGE: (16, 1),
    WorkloadType.GPU_XLARGE_8: (64, 8),
    WorkloadType.MULTIGPU_MEDIUM: (32, 4),
}
"""CPUs and GPUs of one replica."""


@dataclass(frozen=True)
class Compute:
    """What the replicas of one served entity ask of the cluster."""

    cpus: float
    gpus: float
    min_replicas: int
    max_replicas: int
    concurrency_per_replica: int = CONCURRENCY_PER_REPLICA

    @property
    def scales_to_zero(self) -> bool:
        return self.min_replicas == 0


def compute_of(model: OwnModel, *, throughput_chunk_size: int) -> Compute:
    """`throughput_chunk_size` is that of the model's source, in tokens per second."""
    cpus, gpus = HARDWARE[model.workload_type]
    least, most = _replicas(model, throughput_chunk_size)
    return Compute(cpus, gpus, 0 if model.scale_to_zero_enabled else least, max(most, 1))


def _replicas(model: OwnModel, chunk_size: int) -> tuple[int, int]:
    if model.provisioned_model_units is not None:
        units = model.provisioned_model_units
        return units, units * 2 if model.burst_scaling_enabled else units
    if model.max_provisioned_throughput is not None:
        least = model.min_provisioned_throughput or 0
        return ceil(least / chunk_size), ceil(model.max_provisioned_throughput / chunk_size)
    least, most = concurrency_of(model)
    return ceil(least / CONCURRENCY_PER_REPLICA), ceil(most / CONCURRENCY_PER_REPLICA)


def concurrency_of(model: OwnModel) -> tuple[int, int]:
    """The least and the most concurrent requests of a model that is sized by concurrency."""
    if model.max_provisioned_concurrency is not None:
        return model.min_provisioned_concurrency or 0, model.max_provisioned_concurrency
    return SIZES[model.workload_size or WorkloadSize.SMALL]
