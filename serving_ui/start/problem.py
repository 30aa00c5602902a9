"""Why a start cannot go on, as one sentence for the person at the terminal."""

from __future__ import annotations


class StartProblem(Exception):
    """Says what happened and what to do next; the person sees this sentence and no traceback."""


def reason(error: OSError) -> str:
    """The system's own words for a failure, without number and path."""
    return (error.strerror or str(error)).lower()
