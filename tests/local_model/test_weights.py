"""Which models this machine runs, and what they are called."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from serving_ui.local_model import weights
from serving_ui.local_model.weights import Weights, host_name

GIB = 1024**3
LONG = "x" * 200


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path


def put(data: Path, *names: str, size: int = 0) -> None:
    for name in names:
        with (data / "models" / name).open("wb") as file:
            file.truncate(size)  # takes no disk


def find(data: Path, *, memory: int = 8 * GIB) -> dict[str, Weights]:
    found = weights.find(data, data / "environment", memory_bytes=memory)
    assert len({each.name for each in found}) == len(found)
    return {each.path.name: each for each in found}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Qwen3-0.6B.Q8_0.gguf", r"Qwen3-0\.6B\.Q8_0"),
        ("-dash.gguf", r"dash-[0-9a-f]{6}"),
        ("smollm2.gguf", r"smollm2-[0-9a-f]{6}"),
        ("two words.gguf", r"two-words-[0-9a-f]{6}"),
        ("モデル.gguf", r"model-[0-9a-f]{6}"),
        ("upper.GGUF", r"upper-[0-9a-f]{6}"),
        (f"{LONG}.gguf", r"x{50}-[0-9a-f]{6}"),
    ],
)
def test_a_file_has_a_name_that_can_be_sent(data: Path, file: str, name: str):
    put(data, file)
    assert re.fullmatch(name, find(data)[file].name)


def test_names_do_not_depend_on_other_files(data: Path):
    files = ("a b.gguf", "a-b.gguf", f"{LONG}1.gguf", f"{LONG}2.gguf", "a-b.GGUF")
    alone = {}
    for file in files:
        put(data, file)
        alone[file] = find(data)[file].name
        (data / "models" / file).unlink()
    put(data, *files)
    assert {file: each.name for file, each in find(data).items()} == alone


def test_hidden_files_other_files_and_later_parts_are_no_models(data: Path):
    put(data, ".hidden.gguf", "notes.txt", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf")
    assert set(find(data)) == {"big-00001-of-00002.gguf"}


def test_a_name_that_is_not_utf_8(data: Path):
    put(data, os.fsdecode(b"\xff.gguf"))
    (found,) = find(data).values()
    assert re.fullmatch(r"model-[0-9a-f]{6}", found.name)


def test_models_that_are_too_many_or_too_large_are_refused_with_a_sentence(data: Path):
    put(data, "a.gguf", size=3 * GIB)
    put(data, "b.gguf", size=2 * GIB)
    put(data, "c.gguf", "d.gguf", "e.gguf", "f.gguf")
    refused = {name: each.refusal for name, each in find(data).items() if each.refusal}
    assert set(refused) == {"b.gguf", "f.gguf"}
    assert "its file has 2.0 GiB" in refused["b.gguf"]
    assert "at most 4 models" in refused["f.gguf"]


def test_the_limit_of_a_process_lets_its_model_load(data: Path):
    put(data, "a.gguf", size=4 * GIB)
    assert find(data)["a.gguf"].memory_bytes == 6 * GIB


def test_every_model_has_a_host_name_of_its_own():
    models = ["smollm2", "multilingual-e5-small", "a.b", "a-b", "a_b", LONG[:60], LONG[:59]]
    names = [host_name(each) for each in models]
    assert names[:2] == ["local", "local-multilingual-e5-small"]
    assert len(set(names)) == len(models)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", each) for each in names)
