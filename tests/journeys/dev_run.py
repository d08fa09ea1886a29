"""`./dev run` as a process, for the journeys: what it prints, what it leaves, how it is stopped."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
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
# Of our environment nothing else reaches it; a package registry is known by the last ones.
KEPT = re.compile(r"PATH|HOME|LANG|(PIP|UV|SSL_CERT)_\w+|(?i:https?_proxy|no_proxy)")


class Run:
    """One `./dev run` and what it printed so far."""

    def __init__(self, place: Path, port: int, *arguments: str, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
        ours = {
            "TOLLGATE_HOME": str(place),
            "PORT": str(port),
            "TOLLGATE_ENV_FILE": os.devnull,
        }
        self.place = place
        self.log = place.with_suffix(".log")
        self.output = self.log.open("wb")
        self.process = subprocess.Popen(
            [ROOT / "dev", "run", *arguments],
            env=kept | ours | environment,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )

    def greeting(self, seconds: float = START_SECONDS) -> re.Match[str]:
        """Wait for the last lines of the start."""
        deadline = time.monotonic() + seconds
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port
