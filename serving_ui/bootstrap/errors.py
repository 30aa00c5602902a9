"""Why a command cannot start, as one sentence for the person at the terminal."""

from __future__ import annotations

import errno

# A full disk, a quota, a process limit, a folder without write permission.
UNWRITABLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
)


class StartError(Exception):
    """What happened and what to do next. It is printed without a traceback."""


def reason(error: OSError) -> str:
    """The operating system's message, without error number and path."""
    return (error.strerror or str(error)).lower()


def unwritable(error: OSError) -> StartError:
    """A file cannot be written."""
    return StartError(
        f"{error.filename or 'A file'} cannot be written ({reason(error)}). "
        "Make room there, or give yourself the right to write, and start again."
    )
