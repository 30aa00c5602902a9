"""Runs Django's command line after setting the environment that the settings need: data folder and listening address."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line
from django.db import Error as AnyDatabaseError

from serving_ui.bootstrap.errors import UNWRITABLE, StartError, unwritable
from serving_ui.lib.env import EnvError
from serving_ui.management import data_folder
from serving_ui.server import address

BEFORE_UP = frozenset({"create_token", "sign_in_link"})
PRIVATE_FILES = BEFORE_UP | {
    "up",
    "gateway",
}  # files that these commands write are readable by their owner only


def run(root: str, command: str) -> int:
    """Run the command line of this process. Returns the exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")
    try:
        _export_settings(root, command)
        if command in PRIVATE_FILES:
            os.umask(0o077)
        if command in BEFORE_UP:
            _migrate()
        execute_from_command_line(sys.argv)
    except EnvError as error:
        raise StartError(str(error)) from error
    except AnyDatabaseError as error:  # unreachable, locked or full, whatever the command
        from serving_ui.management import prepare

        raise prepare.database_unusable(error) from error
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise unwritable(error) from error
    return 0


def _export_settings(root: str, command: str) -> None:
    """Set the data folder and the address in the environment, for the settings of this process and of its children."""
    address.set_variable("DATA", data_folder.path(root))
    data_folder.make(os.environ["SERVING_UI_DATA"])
    if command == "up":
        address.export(address.parse(sys.argv[2:]))
    if command == "gateway":  # the outbound policy depends on whether the server listens on loopback only
        address.set_variable("HOST", address.parse(sys.argv[2:], command=command).host)


def _migrate() -> None:
    """Create the tables, because a token may be created before the first `up`."""
    import django

    from serving_ui.management import prepare

    django.setup()
    prepare.migrate_database()
