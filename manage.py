#!/usr/bin/env python3
"""The command line of Serving UI: `python3 manage.py up`, `test`, `create_token` and every other command.

Keeps to the grammar of Python 2.7, so that an old Python prints a sentence and not a traceback.
Everything else is in serving_ui/bootstrap, which makes the virtual environment, and in
serving_ui/management, which has the commands; tests/runner runs the tests.
"""

import os
import sys

OLDEST = (3, 11)


def main():
    if sys.version_info[:2] < OLDEST:
        sys.stderr.write(
            "Serving UI needs Python %d.%d or newer, and this is Python %d.%d. "
            "Install a newer Python and start manage.py with that one.\n"
            % (OLDEST + tuple(sys.version_info[:2]))
        )
        return 1
    from serving_ui.bootstrap.errors import StartError

    try:
        return run(sys.argv[1] if len(sys.argv) > 1 else "help")
    except StartError as error:
        sys.stderr.write("%s\n" % error)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return 130


def run(command):
    """Enter the virtual environment, then run the command. Returns the exit code."""
    from serving_ui.bootstrap import environment

    root = os.path.dirname(os.path.abspath(__file__))
    environment.enter(root, sys.argv, tests=command == "test")
    if command == "test":
        from tests.runner import suite

        return suite.run(root, sys.argv[2:])
    from serving_ui.management import command_line

    return command_line.run(root, command)


if __name__ == "__main__":
    sys.exit(main())
