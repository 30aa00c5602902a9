"""How many files and connections this process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress


def allow_as_many_as_possible() -> None:
    """Raises the soft limit to the hard one. The soft one is often 1,024, for programs that use select(); ours use none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # on macOS the kernel takes less than its own hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
