"""Names of private vocabulary that the code once had must not come back: readers had to learn them first.

Their replacements: `RevisionSignal`, `SnapshotCacheWriter`, `ChangeListener`, `UsageRecorder`, `TokenCounter`, `Dispatcher`,
`InferenceRequest`, `ResponseTranslator`, `Timeouts`, `PrincipalLimits`, `health_checks`, `DeadlineWheel`, `translate` and others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.sources import name, python_files, tree

# As whole names, whatever their case and their leading underscores.
RETIRED = {
    "around",
    "ask",
    "asked",
    "asking",
    "bell",
    "books",
    "clerk",
    "concern",
    "concerns",
    "cutting",
    "data_plane",
    "disguises",
    "floors",
    "fruitless",
    "given",
    "goodbyes",
    "guard",
    "handles",
    "hasty",
    "hurry",
    "impatient",
    "insist",
    "intake",
    "keeper",
    "kept",
    "let_in_who_waits",
    "lookout",
    "mood",
    "moods",
    "mourn",
    "nameless",
    "neighbour",
    "neighbours",
    "news",
    "noting",
    "nudge",
    "overtaken",
    "passage",
    "passes",
    "patience",
    "publication",
    "querying",
    "question",
    "raised",
    "ready_made",
    "reckoning",
    "repeats",
    "said",
    "save_for_good",
    "standing",
    "taken_up",
    "take_in",
    "tally",
    "try",
    "unanswered",
    "unseal",
    "warden",
}
# As one of the words of a longer name.
RETIRED_WORDS = {
    "bell",
    "fruitless",
    "mourn",
    "neighbour",
    "neighbours",
    "nudge",
    "patience",
    "reckoning",
    "tally",
    "warden",
}


def test_no_name_contains_a_retired_word():
    found = {
        f"{name(path)}: {identifier}"
        for path in python_files("serving_ui", "tests")
        for identifier in (path.stem, *_identifiers(tree(path)))
        if _retired(identifier)
    }
    assert not sorted(found)


def _retired(identifier: str) -> bool:
    plain = _snake(identifier).strip("_")
    return plain in RETIRED or bool(RETIRED_WORDS & set(plain.split("_")))


def _snake(identifier: str) -> str:
    """`RevisionSignal` as `revision_signal`."""
    if identifier.isupper():
        return identifier.lower()
    parts = (f"_{letter.lower()}" if letter.isupper() else letter for letter in identifier)
    return "".join(parts)


def _identifiers(module: ast.Module) -> Iterator[str]:
    """Every name that the module defines: classes, functions, arguments, variables, attributes, and aliases of imports."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname
