"""Why a start cannot go on, as one sentence for the person at the terminal."""

from __future__ import annotations

import errno

# A full disk, a quota, a limit of the process, a folder that may not be written.
UNWRITABLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
)


class StartProblem(Exception):
    """Says what happened and what to do next; the person sees this sentence and no traceback."""


def reason(error: OSError) -> str:
    """The system's own words for a failure, without number and path."""
    return (error.strerror or str(error)).lower()


def unwritable(error: OSError) -> StartProblem:
    """What to do about a file that cannot be written."""
    return StartProblem(
        f"{error.filename or 'A file'} cannot be written ({reason(error)}). "
        "Make room there, or give yourself the right to write, and start again."
    )
