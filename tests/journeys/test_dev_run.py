"""`./dev run` as a user starts and stops it, in a home of its own."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.dev_run import Run, free_port, processes_of

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("journeys"),
]


@pytest.fixture
def place(place: Path) -> Iterator[Path]:
    """A TOLLGATE_HOME that leaves no process, also when a test fails."""
    yield place / "home"
    for process in processes_of(place):
        process.kill()


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
