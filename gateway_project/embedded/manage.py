"""`./dev manage …`: manage.py in the environment of `./dev run`, with its Postgres."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from gateway_project.embedded import home


def main(arguments: list[str]) -> None:
    """Run one management command; a Postgres that was started for it is stopped after it."""
    home.read_env_file()
    place = home.home()
    home.prepare_environment(place)
    signal.signal(signal.SIGTERM, _leave)
    if os.environ.get("DATABASE_URL"):
        _execute(arguments)
        return
    server = home.postgres(place)
    try:
        server.start()
        os.environ["DATABASE_URL"] = server.url()
        _execute(arguments)
    finally:
        server.stop()


def _execute(arguments: list[str]) -> None:
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(["./dev manage", *arguments])
    finally:
        from django.db import connections

        connections.close_all()


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main(sys.argv[1:])
