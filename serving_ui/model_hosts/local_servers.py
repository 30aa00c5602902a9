"""Model servers that answer on this machine at their usual ports, for an admin who may want them as model hosts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serving_ui.accounts.directory import need_admin
from serving_ui.accounts.models import User
from serving_ui.backends import model_lists
from serving_ui.backends.model_lists import ListFailed
from serving_ui.backends.transport import Call
from serving_ui.catalogue.external_model import ExternalModel
from serving_ui.endpoints import outbound
from serving_ui.model_hosts import host_spec
from serving_ui.model_hosts.host_spec import HostSpec
from serving_ui.model_hosts.models import ModelHost

USUAL_PORTS = {"Ollama": 11434, "LM Studio": 1234, "vLLM": 8000, "llama.cpp": 8080, "SGLang": 30000}
SECONDS = 2.0
"""Time limit of each server; all are tried at the same time."""


@dataclass(frozen=True)
class LocalServer:
    label: str
    name: str  # for the host
    base_url: str
    models: int


def find_servers(*, actor: User) -> list[LocalServer]:
    """Those that answer with models and are no hosts yet. Another program at a port has the label of the usual one. Raises NotAllowed."""
    need_admin(actor)
    hosts = list(ModelHost.objects.all())
    known = {host.base_url.rstrip("/") for host in hosts}
    addresses = {label: f"http://127.0.0.1:{port}/v1" for label, port in USUAL_PORTS.items()}
    wanted = {label: address for label, address in addresses.items() if address not in known}
    if not wanted:
        return []
    connections = {label: _connection(address) for label, address in wanted.items()}
    with ThreadPoolExecutor(len(connections), thread_name_prefix="local-servers") as threads:
        numbers = dict(zip(connections, threads.map(_number_of_models, connections.values()), strict=True))
    taken = {host.name for host in hosts}
    return [
        LocalServer(label, _free_name(label, taken), wanted[label], number)
        for label, number in numbers.items()
        if number
    ]


def _connection(base_url: str) -> ExternalModel:
    spec = HostSpec(name="server", base_url=base_url)
    config = host_spec.connection(spec, spec.kind, base_url=base_url)
    return config.served_entities[0].external


def _number_of_models(external: ExternalModel) -> int:
    """Zero if it does not answer, wants a key, or the outbound policy does not allow it."""
    try:
        with Call(policy=outbound.policy(), seconds=SECONDS) as call:
            return model_lists.list_models(external, addresses=outbound.addresses(), call=call).total
    except ListFailed:
        return 0


def _free_name(label: str, taken: set[str]) -> str:
    plain = label.lower().replace(" ", "-").replace(".", "-")
    names = (plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
