"""`./dev screenshots`: the pictures of the docs, taken of a gateway of its own with an invented
world. A picture is written only when it looks different from the one that is there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gateway_project.embedded import home
from gateway_project.embedded.account import Account, place_for
from gateway_project.embedded.postgres import Postgres


def main() -> None:
    """Take the pictures named, or all."""
    arguments = argparse.ArgumentParser(prog="./dev screenshots", description=__doc__)
    arguments.add_argument("names", nargs="*", help="without .png; all if none is named")
    arguments.add_argument("--into", type=Path, help="another folder than docs/pictures")
    options = arguments.parse_args()
    with database():
        import django

        django.setup()
        from tests.pictures import camera

        sys.exit(camera.take(options.names, options.into or camera.FOLDER))


@contextlib.contextmanager
def database() -> Iterator[None]:
    """A throw-away Postgres, and an environment in which nothing else is reached."""
    with tempfile.TemporaryDirectory(prefix="tollgate-pictures-", dir="/var/tmp") as folder:
        place = Path(folder)
        place.chmod(0o755)
        os.environ |= {
            "TOLLGATE_HOME": folder,
            "TOLLGATE_ENV_FILE": os.devnull,
            "LOG_FORMAT": "json",
            "ENVIRONMENT": "dev",
            "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
        }
        home.prepare_environment(place)
        server = Postgres(place_for(place / "postgres", Account.current()), throw_away=True)
        server.start()
        try:
            os.environ["DATABASE_URL"] = server.url()
            yield
        finally:
            server.stop()
            shutil.rmtree(server.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
