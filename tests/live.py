"""Tollgate as its clients see it: real uvicorn processes on the test's database.

`Servers` starts them and keeps one for each environment asked for; the fixtures `servers` and
`live` (tests/conftest.py) stop them. What a server logs goes to a file that `Server.logs` reads.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
from django.db import connections

from tenants_app.keys import IssuedKey

START_SECONDS = 30.0
STOP_SECONDS = 20.0
SESSION_ID = "11111111-1111-1111-1111-111111111111"

# The socket is made here, so that the port is known and early clients wait in its backlog. Its
# standard input is a pipe that ends with this process, so that no killed test run leaves servers.
SERVE = """
import os, signal, socket, sys, threading, uvicorn
import gateway_project.asgi
from usage_app import ledger
def end_with_parent():
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end_with_parent, daemon=True).start()
ledger.HEARTBEAT_SECONDS = float(sys.argv[3])
config = uvicorn.Config(
    gateway_project.asgi.application, lifespan="on", log_config=None, access_log=False,
    server_header=False, timeout_graceful_shutdown=int(sys.argv[2]),
)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""

Frame = tuple[str | None, dict[str, Any]]


@dataclass(slots=True)
class Server:
    """One web process. `client` speaks to it; `kill` and `terminate` end it in a fault test."""

    process: subprocess.Popen[bytes]
    port: int
    log_path: Path
    client: httpx.Client = field(init=False)
    _marked: int = 0

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_until_it_answers(self) -> None:
        """Raises RuntimeError with its log when it does not start."""
        try:
            self.client.get("/health", timeout=START_SECONDS)
        except httpx.TransportError as error:
            self.stop()
            raise RuntimeError(f"No start:\n{self.log_path.read_text()}") from error

    def get(self, path: str, key: IssuedKey | None = None, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=_headers(key, headers))

    def delete(self, path: str, key: IssuedKey | None = None, **headers: str) -> httpx.Response:
        return self.client.delete(path, headers=_headers(key, headers))

    def chat(
        self, key: IssuedKey | None = None, body: dict[str, Any] | None = None, **headers: str
    ) -> httpx.Response:
        """POST /chat, read to its end. `body` is what differs from a hello in a new session."""
        return self.client.post("/chat", json=_hello(body), headers=_headers(key, headers))

    @contextmanager
    def streaming(
        self, key: IssuedKey | None = None, body: dict[str, Any] | None = None, **headers: str
    ) -> Iterator[httpx.Response]:
        """POST /chat, its body still to be read; leaving the block hangs up."""
        asked = {"json": _hello(body), "headers": _headers(key, headers)}
        with self.client.stream("POST", "/chat", **asked) as response:  # type: ignore[arg-type]
            yield response

    def mark(self) -> None:
        """`logs` begins here."""
        self._marked = self.log_path.stat().st_size

    def log_text(self) -> str:
        """What was logged since the last `mark`, as it stands in the file."""
        return self.log_path.read_bytes()[self._marked :].decode()

    def logs(self, event: str | None = None, **having: object) -> list[dict[str, Any]]:
        """The lines since the last `mark`, of this event and with these values."""
        lines = [json.loads(line) for line in self.log_text().splitlines() if line[:1] == "{"]
        wanted = having | ({"event": event} if event else {})
        return [line for line in lines if wanted.items() <= line.items()]

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def terminate(self) -> int:
        """As an operator would; its exit status (uvicorn's is -SIGTERM) once it has drained."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        self.client.close()
        try:
            self.terminate()
        except subprocess.TimeoutExpired:
            self.kill()
        finally:
            if self.process.stdin:
                self.process.stdin.close()


class Servers:
    """Starts servers whose logs lie in `folder`, and stops all of them with `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: dict[frozenset[tuple[str, str]], Server] = {}
        self._started: list[Server] = []

    def __call__(self, **environment: str) -> Server:
        """The server with this environment on top of the tests', started at its first use."""
        kept = self._kept.get(frozenset(environment.items()))
        if kept is None or not kept.alive:
            kept = self._kept[frozenset(environment.items())] = self.start(1, environment)[0]
        kept.mark()
        return kept

    def start(
        self,
        count: int = 1,
        environment: Mapping[str, str] | None = None,
        *,
        graceful_seconds: int = 10,
        heartbeat_seconds: float = 5.0,
    ) -> list[Server]:
        """New servers, nobody else's: to be killed, or several on one database."""
        pace = (str(graceful_seconds), str(heartbeat_seconds))
        launched = [self._launch(environment or {}, pace) for _ in range(count)]
        self._started += launched
        for server in launched:
            server.wait_until_it_answers()
        return launched

    def close(self) -> None:
        for server in self._started:
            if server.alive:  # All at once: each drains for a moment.
                server.process.send_signal(signal.SIGTERM)
        for server in self._started:
            server.stop()

    def _launch(self, environment: Mapping[str, str], pace: tuple[str, str]) -> Server:
        log_path = self.folder / f"{uuid4()}.log"
        ours = {
            "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
            "DATABASE_URL": database_url(),
        }
        with log_path.open("wb") as log, socket.create_server(("127.0.0.1", 0)) as listener:
            process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(listener.fileno()), *pace],
                env={**os.environ, **ours, **environment},
                cwd=Path(__file__).parents[1],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            return Server(process, listener.getsockname()[1], log_path)


def database_url() -> str:
    """The test database's address: the settings' with the name that this run gave it."""
    name = connections["default"].settings_dict["NAME"]
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{quote(name)}").geturl()


def frames(text: str) -> list[Frame]:
    """The events of a stream as (event or None, data); comments are left out."""
    found: list[Frame] = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        if fields:
            found.append((fields.get("event"), json.loads(fields["data"])))
    return found


def eventually(happened: Callable[[], Any], *, seconds: float = 5.0) -> Any:
    """What `happened` returns once it is true, or at the end of the wait."""
    deadline = time.monotonic() + seconds
    while not (found := happened()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def _hello(body: dict[str, Any] | None) -> dict[str, Any]:
    return {"sessionId": str(uuid4()), "message": "hello", "stream": False, **(body or {})}


def _headers(key: IssuedKey | None, headers: dict[str, str]) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return named if key is None else {"authorization": f"Bearer {key.secret}", **named}
