"""What manage.py does once it knows that this Python is new enough.

Brings the environment, then hands over: `test` to the checks, everything else to Django. Imports
nothing but Python itself at the top, because it runs before anything has been installed.
"""

from __future__ import annotations

import os
import sys

from serving_ui.start import environment
from serving_ui.start.problem import UNWRITABLE, StartProblem, unwritable

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

BEFORE_UP = frozenset({"create_token", "sign_in_link"})
ON_DATA = BEFORE_UP | {"up", "gateway"}  # what these write is for their owner's eyes alone


def run(argv: list[str]) -> int:
    """Carry out one command line; the answer is the exit code."""
    try:
        return _run(argv)
    except StartProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int:
    command = argv[1] if len(argv) > 1 else "help"
    environment.enter(ROOT, argv, tests=command == "test")
    if command == "test":
        from serving_ui.start import suite

        return suite.run(ROOT, argv[2:])
    return _django(command, argv)


def _django(command: str, argv: list[str]) -> int:
    """Django's command line. What its settings rely on is put in place first."""
    from django.core.management import execute_from_command_line
    from django.db import Error as AnyDatabaseError

    from serving_ui.lib.env import EnvError

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")
    try:
        _announce(command, argv)
        if command in ON_DATA:
            os.umask(0o077)
        if command in BEFORE_UP:
            _bring_tables()
        execute_from_command_line(argv)
    except EnvError as error:
        raise StartProblem(str(error)) from error
    except AnyDatabaseError as error:  # away, locked, full: no command has more to say about it
        from serving_ui.start import prepare

        raise prepare.unusable(error) from error
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise unwritable(error) from error
    return 0


def _announce(command: str, argv: list[str]) -> None:
    """Where the data is and who listens, for the settings of this and of every other process, wherever it starts."""
    from serving_ui.start import data_folder, options

    options.replace("DATA", data_folder.path(ROOT))
    data_folder.make(os.environ["SERVING_UI_DATA"])
    if command == "up":
        options.announce(options.read(argv[2:]))
    if command == "gateway":  # whether it listens on loopback only decides what it may reach
        options.replace("HOST", options.read(argv[2:], command=command).host)


def _bring_tables() -> None:
    """A token may be made before the first `up`."""
    import django

    from serving_ui.start import prepare

    django.setup()
    prepare.tables()
