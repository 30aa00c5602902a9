"""Runs llama.cpp's server for one GGUF file until a signal. Run by the Python of the model's environment, which has no Django.

It listens on loopback, wants a key, which it reads from a file, and allows no other origin. Its API is that of OpenAI.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import signal
from pathlib import Path
from threading import Event

CONTEXT = 4096  # tokens of each of the concurrent requests
CONCURRENCY = 2
MEMORY_BYTES = 4 * 1024 * 1024 * 1024
"""Of the process, so that a model that needs more does not take the memory of the machine. Mapped weights count."""
TEMPERATURE = 0.2  # a small model wanders with more
_SYSTEM = "You are a helpful assistant. Answer the question briefly and correctly."
CHAT_TEMPLATE = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\n" + _SYSTEM + "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""SmolLM2's own format (ChatML) with another default prompt: of 17 plain questions it answered 14 with this one and 12 with its own."""


def weights_of(package: str) -> str:
    """The GGUF file of an installed package, which is not imported: it needs others, of which only its file is wanted."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"The package {package} is not installed.")
    return str(sorted(Path(found.origin).parent.glob("*.gguf"))[0])


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="a GGUF file, or package:NAME")
    parser.add_argument("--name", required=True, help="the model's name in the API")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--key-file", required=True)
    options = parser.parse_args()
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_arguments: ended.set())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    server = _start(options)
    ended.wait()
    del server  # ends it
    return 0


def _start(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    import xllamacpp  # noqa: PLC0415 - exists in the model's environment only

    parameters = xllamacpp.CommonParams()
    package = options.model.removeprefix("package:")
    is_packaged = package != options.model
    parameters.model.path = weights_of(package) if is_packaged else options.model
    parameters.model_alias = {options.name}
    parameters.n_parallel = CONCURRENCY
    parameters.n_ctx = CONTEXT * CONCURRENCY
    parameters.cpuparams.n_threads = options.threads
    parameters.hostnames, parameters.port = ["127.0.0.1"], options.port
    parameters.api_keys = [Path(options.key_file).read_text()]
    parameters.cors_origins = ""
    parameters.verbosity = 1  # warnings and errors
    parameters.sampling.temp = TEMPERATURE
    if is_packaged:
        parameters.chat_template = CHAT_TEMPLATE
    return xllamacpp.Server(parameters)


if __name__ == "__main__":
    raise SystemExit(main())
