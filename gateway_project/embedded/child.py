"""One child of `./dev run`: the web server, the worker or the local model; ends with its parent.

Production starts uvicorn and Celery by their own commands.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import IO, Any

from gateway_project.embedded import local_model

# What the parent reads in our output.
LISTENING = "listening on port "
WORKER_READY = "worker ready"

DRAIN_SECONDS = 30
PORTS_TRIED = 100


def web() -> None:
    """Prepare the database, then serve on loopback, at PORT or the next free one."""
    import django
    import uvicorn

    django.setup(set_prefix=False)
    prepare_database()
    listener = listen(int(os.environ.get("PORT") or 8787))
    config = uvicorn.Config(
        "gateway_project.asgi:application",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    print(f"{LISTENING}{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def prepare_database() -> None:
    """Migrate if the code is ahead, and seed."""
    from django.core.management import CommandError, call_command
    from django.db import connection

    from gateway_project import readiness

    if readiness.unapplied_migrations():
        print("Preparing the database …", flush=True)
        call_command("migrate", interactive=False, verbosity=0)
    try:
        call_command("seed_demo", verbosity=0)
    except CommandError as error:
        raise SystemExit(str(error)) from None
    connection.close()


def listen(first_port: int) -> socket.socket:
    """A bound socket at this port, or at the next one that is free; 0 is any port."""
    last_port = first_port + PORTS_TRIED if first_port else 0
    for port in range(first_port, min(last_port, 65_535) + 1):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            # Listening already: two starters that bound the same port are told here.
            listener.listen(2048)
        except OSError as error:
            listener.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        else:
            return listener
    raise SystemExit(f"No free port from {first_port} on; set PORT.")


def worker() -> None:
    """Run tasks and, in a thread of the same process, the timetable, once the web has migrated."""
    from celery.beat import EmbeddedService
    from celery.exceptions import SecurityWarning
    from celery.signals import worker_ready, worker_shutdown
    from django.db import connection

    from gateway_project import readiness
    from gateway_project.celery import app

    app.loader.import_default_modules()
    while readiness.unapplied_migrations():
        time.sleep(0.2)
    connection.close()
    # Root is no danger here: messages are JSON, from a folder that only we can write.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    beat: Any = EmbeddedService(app, thread=True, schedule_filename=app.conf.beat_schedule_filename)

    def begin(**_kwargs: Any) -> None:
        beat.start()
        print(WORKER_READY, flush=True)

    def end(**_kwargs: Any) -> None:
        # Stopping a thread that never ran would wait for ever.
        if beat.is_alive():
            beat.stop()

    worker_ready.connect(begin, weak=False)
    worker_shutdown.connect(end, weak=False)
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["--quiet", "worker", "--pool=threads", "--concurrency=2", *alone])


def end_with_parent(lock: Path) -> IO[str]:
    """Ask ourselves to stop as soon as the parent's lock falls, be it by kill -9.

    Held from then on, it keeps the next start waiting until we have ended: so the caller keeps the
    file, since a closed one is unlocked.
    """
    file = lock.open("r+")

    def wait() -> None:
        fcntl.lockf(file, fcntl.LOCK_SH)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()
    return file


if __name__ == "__main__":
    held = end_with_parent(Path(sys.argv[2]))
    {"web": web, "worker": worker, "model": local_model.serve}[sys.argv[1]]()
