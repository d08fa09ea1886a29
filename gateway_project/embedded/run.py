"""`./dev run`: Postgres, web and worker, and a model if asked, until Ctrl-C or SIGTERM.

honcho keeps all but Postgres, which is started before it and stopped after it, since it signals all
its children at once. Django is imported in the children only, at the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import shlex
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from honcho import manager
from honcho.printer import Message, Printer

from gateway_project.embedded import child, home, local_model

READY_TIMEOUT_SECONDS = 60.0
# Longer than the drain of the web, which honcho would cut off after 5 seconds.
KILL_WAIT_SECONDS = child.DRAIN_SECONDS + 10
SESSION_ID = "11111111-1111-4111-8111-111111111111"
# What would serve the demo tenant without --local-model.
OTHER_UPSTREAMS = ("OPENAI_API_KEY", "CLOUDFLARE_API_TOKEN")


def main(arguments: list[str]) -> int:
    """Run all of it; the exit status is 0 when it was asked to stop."""
    asked = options().parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    # A closed terminal is a Ctrl-C, also later, when honcho handles SIGTERM.
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    home.read_env_file()
    place = home.home()
    with only_one(place) as lock:
        try:
            home.prepare_environment(place)
            with database(place), model(place, wanted=asked.local_model) as model_url:
                return supervise(place, lock, model_url)
        except KeyboardInterrupt:
            return 0


def options() -> argparse.ArgumentParser:
    """What `./dev run` can be told."""
    parser = argparse.ArgumentParser("./dev run", description="Start Tollgate with a demo tenant.")
    parser.add_argument(
        "--local-model",
        action="store_true",
        help=f"serve the demo tenant by {local_model.MODEL_ID} on this machine; fetched once",
    )
    return parser


@contextlib.contextmanager
def only_one(place: Path) -> Iterator[Path]:
    """Hold this home's lock; leave with a sentence if another `./dev run` has it.

    A record lock: forks do not inherit it, and children of a killed run, which hold it shared until
    they have ended, are waited for.
    """
    path = place / "run.lock"
    with path.open("a+") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            try:
                fcntl.lockf(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                raise SystemExit(f"Tollgate already runs from {place}; stop it first.") from None
            _say("Waiting for the last run's processes to end …")
            fcntl.lockf(lock, fcntl.LOCK_EX)
        yield path


@contextlib.contextmanager
def database(place: Path) -> Iterator[None]:
    """DATABASE_URL as it is, or an embedded Postgres of our own for as long as we run."""
    if os.environ.get("DATABASE_URL"):
        yield
        return
    server = home.postgres(place)
    try:
        server.start()
        os.environ["DATABASE_URL"] = server.url()
        yield
    finally:
        server.stop()


@contextlib.contextmanager
def model(place: Path, *, wanted: bool) -> Iterator[str]:
    """Where the local model will listen, "" if none is wanted; says what it takes the place of."""
    if not wanted:
        yield ""
        return
    unused = [name for name in OTHER_UPSTREAMS if os.environ.get(name)]
    if unused:
        _say(f"{unused[0]} is not used: --local-model serves the demo tenant.")
    kept = home.read_secrets(place, local_model_key=lambda: secrets.token_urlsafe(32))
    with local_model.address(kept["local_model_key"]) as url:
        yield url


def supervise(place: Path, lock: Path, model_url: str = "") -> int:
    """Keep all children until we are told to stop or one of them ends."""
    console = Console(place, model_url)
    supervisor = manager.Manager(console)
    manager.KILL_WAIT = KILL_WAIT_SECONDS
    console.stop = supervisor.terminate
    for name in ("web", "worker", "model") if model_url else ("web", "worker"):
        command = [sys.executable, "-m", "gateway_project.embedded.child", name, str(lock)]
        supervisor.add_process(name, f"exec {shlex.join(command)}")
    supervisor.loop()
    asked_to_stop = supervisor.returncode in (130, 143) and not console.failed
    return 0 if asked_to_stop else 1


class Console(Printer):  # type: ignore[misc]
    """honcho's output, which also hears when all children are up and then says how to begin."""

    def __init__(self, place: Path, model_url: str) -> None:
        super().__init__(sys.stdout)
        self.place = place
        self.model_url = model_url
        self.url = ""
        self.failed = False
        self.stopping = False
        self.stop: Callable[[], None] = lambda: None
        self._worker_up = threading.Event()
        self._printing = threading.Lock()

    def write(self, message: Message) -> None:
        """Print one line of a child; our own signs are heard instead of shown."""
        with self._printing:
            self._write(message)

    def _write(self, message: Message) -> None:
        text = message.data.decode(errors="replace") if isinstance(message.data, bytes) else ""
        if message.name == "worker" and text.startswith(child.WORKER_READY):
            self._worker_up.set()
        elif message.name == "web" and text.startswith(child.LISTENING):
            self.url = f"http://127.0.0.1:{int(text.removeprefix(child.LISTENING))}"
            threading.Thread(target=self._announce, daemon=True).start()
        elif message.name != "system":
            super().write(message)
        elif message.data.endswith("received\n"):
            self.stopping = True
            _say("Stopping …")
        elif " stopped (rc=" in message.data and not self.stopping:
            self.stopping = True
            _say(f"{message.data.strip()}: it was not asked to. Stopping …")

    def _announce(self) -> None:
        answer = self._wait()
        with self._printing:
            if answer == "ready":
                if self.model_url:
                    _say(f"Model: {local_model.MODEL_ID}, by llama.cpp at {self.model_url}/v1")
                _say(greeting(self.url, home.read_secrets(self.place)))
                return
            _say(f"Not ready after {READY_TIMEOUT_SECONDS:.0f} seconds: {answer}")
        self.failed = True
        self.stop()

    def _wait(self) -> str:
        """`ready` as soon as everything is, or what is not when the time is over."""
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        signs = [f"{self.url}/ready"] + [f"{self.model_url}/health"] * bool(self.model_url)
        for sign in signs:
            while (answer := ask(sign)) != "ready":
                if time.monotonic() > deadline:
                    return answer
                time.sleep(0.05)
        if not self._worker_up.wait(deadline - time.monotonic()):
            return "the worker did not start"
        return "ready"


def ask(url: str) -> str:
    """`ready`, or what a GET of this URL says instead."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - loopback
            return "ready"
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")
    except OSError as error:
        return str(error)


def greeting(url: str, kept: dict[str, str]) -> str:
    """The last lines of a start; their form is an interface."""
    body = json.dumps({"sessionId": SESSION_ID, "message": "Hello"})
    curl = [
        *("curl", "-N", f"{url}/chat", "-H", f"Authorization: Bearer {kept['demo_key']}"),
        *("-H", "Content-Type: application/json", "-d", body),
    ]
    port = url.rpartition(":")[2]
    wanted = os.environ.get("PORT") or "8787"
    busy = "" if port == wanted or wanted == "0" else f"Port {wanted} is busy; using {port}.\n"
    return (
        f"{busy}URL: {url}\n"
        f"Admin: {url}/admin/ (user admin, password {kept['admin_password']})\n"
        f"API key: {kept['demo_key']}\n"
        f"Try: {shlex.join(curl)}"
    )


def _say(text: str) -> None:
    print(text, flush=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
