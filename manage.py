#!/usr/bin/env python3
"""The one command of Serving UI: `python3 manage.py up`, `test`, `create_token` and every other.

Runs under any Python, so its grammar is that of Python 2.7: a too old one gets a sentence instead
of a traceback. Everything else is in serving_ui/start, which brings the virtual environment along.
"""

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
    from serving_ui.start.main import run

    return run(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
