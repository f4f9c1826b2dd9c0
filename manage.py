#!/usr/bin/env python
"""Django's command line. Without configuration it starts a local PostgreSQL and Redis for each command."""

import contextlib
import os
import sys

from zekron_api.local import servers

WITHOUT_SERVERS = {
    "check",
    "collectstatic",
    "diffsettings",
    "findstatic",
    "help",
    "make_small_model",
    "version",
}


def main() -> None:
    """Run the command that the arguments name, with local servers if it needs them."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - reads the line above

    # Reading the settings stops the command at a wrong or missing variable, before a server is started for it.
    from storage.postgresql import time_limits  # noqa: PLC0415 - django.db is slow to import
    from zekron_api.settings import VAR_DIR  # noqa: PLC0415

    named = [word for word in sys.argv[1:2] if not word.startswith("-")]
    idle = not named or named[0] in WITHOUT_SERVERS or {"-h", "--help"} & set(sys.argv)
    with contextlib.ExitStack() as stack:
        if not idle:
            stack.enter_context(servers.running(VAR_DIR))
            stack.enter_context(time_limits.long_statements(seconds=time_limits.COMMAND_SECONDS))
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    try:
        main()
    except servers.LocalServicesFailed as error:
        sys.exit(f"zekron: {error}.")
    except KeyboardInterrupt:
        sys.exit(130)
