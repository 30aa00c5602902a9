"""Reads names of models: their resource path, their generation, and whether they are retired.

Vendor facts as of November 2026, docs.cloud.google.com, "Model versions and lifecycle" and "Pathways Language Model (PaLM)": the
PaLM and Codey models ended on 9 April 2025; a model is at publishers/{publisher}/models/{model}, a tuned one at endpoints/{number}.
"""

from __future__ import annotations

import re

from serving_ui.catalogue import upstream
from serving_ui.catalogue.translatable import _
from serving_ui.catalogue.upstream import UnsupportedRequest

REPLACEMENT = "gemini-3.5-flash"
_RETIRED = re.compile(r"(?:text|chat|code|codechat)-(?:bison|unicorn|gecko)(?:-32k)?(?:@\w+)?\Z")
_GENERATION = re.compile(r"gemini-(\d{1,3})(?:\.\d+)?-")


def generation(model: str) -> int:
    """The major version, such as 3 of gemini-3.5-flash; 0 for other names."""
    found = _GENERATION.search(model)
    return int(found[1]) if found else 0


def refuse_retired(model: str) -> None:
    """Raise UnsupportedRequest for a PaLM or Codey model, which Google has switched off."""
    if _RETIRED.match(model.rpartition("/")[2]):
        sentence = _(
            "Google retired the model %(model)s on 9 April 2025. "
            "The person who manages the endpoint must give it a model that is served, such as %(instead)s."
        )
        raise UnsupportedRequest(sentence.fill(model=model, instead=REPLACEMENT))


def path(model: str, *, project: str, region: str) -> str:
    """The resource path of the model, without the API version. `model` may be a name, the number of a tuned model, or a longer path."""
    parts = model.strip("/").split("/")
    if parts[0] != "projects":
        parts = ["projects", project, "locations", region, *_within_location(parts)]
    return "/".join(upstream.path_segment(part) for part in parts)


def _within_location(parts: list[str]) -> list[str]:
    if parts[0] in {"publishers", "endpoints"}:
        return parts
    if len(parts) == 1 and parts[0].isdecimal():
        return ["endpoints", *parts]
    # The Gemini API writes models/gemini-….
    publisher = [part for part in parts[:-1] if part != "models"] or ["google"]
    return ["publishers", *publisher, "models", parts[-1]]
