"""`./dev run` as a user starts and stops it, in a home of its own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
LAST_LINES = re.compile(
    r"URL: (?P<url>http://127\.0\.0\.1:(?P<port>\d+))\n"
    r"Admin: (?P=url)/admin/ \(user admin, password (?P<password>\S+)\)\n"
    r"API key: (?P<key>tg_[0-9A-Za-z]{38})\n"
    r"Try: (?P<curl>curl .*)\n\Z"
)
START_SECONDS = 100

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("journeys"),
]


class Run:
    """One `./dev run` and what it printed so far."""

    def __init__(self, place: Path, port: int) -> None:
        keep = {"PATH", "HOME", "LANG"}
        environment = {name: value for name, value in os.environ.items() if name in keep}
        environment |= {
            "TOLLGATE_HOME": str(place),
            "PORT": str(port),
            "TOLLGATE_ENV_FILE": os.devnull,
        }
        self.place = place
        self.log = place.with_suffix(".log")
        self.output = self.log.open("wb")
        self.process = subprocess.Popen(
            [ROOT / "dev", "run"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def greeting(self) -> re.Match[str]:
        """Wait for the last lines of the start."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := LAST_LINES.search(self.log.read_text()):
                return found
            time.sleep(0.1)
        pytest.fail(f"did not start:\n{self.log.read_text()}")

    def processes(self) -> list[str]:
        """The command of everything that runs from this home, Postgres too."""
        return [" ".join(process.cmdline()) for process in processes_of(self.place)]

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(60)
        self.output.close()
        return status


def processes_of(place: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(place) in " ".join(process.info["cmdline"] or [])
    ]


@pytest.fixture
def place(place: Path) -> Iterator[Path]:
    """A TOLLGATE_HOME that leaves no process, also when a test fails."""
    yield place / "home"
    for process in processes_of(place):
        process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def test_run_starts_answers_stops_and_goes_on(place: Path) -> None:
    run = Run(place, free_port())
    first = run.greeting()
    answer = subprocess.run(
        shlex.split(first["curl"]), capture_output=True, text=True, timeout=30, check=True
    ).stdout
    assert "event: done" in answer
    assert run.stop(signal.SIGTERM) == 0
    assert run.processes() == []
    assert not list(place.rglob("postmaster.pid"))

    # Again, at a port that is taken by now: the same data, and the next port.
    with socket.socket() as busy:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        busy.bind(("127.0.0.1", int(first["port"])))
        busy.listen()
        run = Run(place, int(first["port"]))
        second = run.greeting()
        assert second["port"] != first["port"]
        assert (second["key"], second["password"]) == (first["key"], first["password"])
        assert run.stop(signal.SIGINT) == 0
    assert run.processes() == []


def test_killed_run_takes_its_children_with_it(place: Path) -> None:
    run = Run(place, free_port())
    run.greeting()
    assert any("bin/postgres" in command for command in run.processes())
    run.stop(signal.SIGKILL)
    again = Run(place, free_port())
    again.greeting()
    children = [command for command in again.processes() if "embedded.child" in command]
    assert len(children) == 2
    assert again.stop(signal.SIGTERM) == 0
    assert again.processes() == []
