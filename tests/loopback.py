"""An upstream on a real socket that plays every answer and every failure of an OpenAI-like server,
and of Cloudflare's AI Gateway.

It speaks HTTP by hand, since it must be able to break each rule of it at any byte. The model that
the request names picks the play: tests/loopback_plays.py and loopback_cloudflare.py have them. In a
thread: `with Loopback() as upstream: upstream.url`; as a process of its own:
`python -m tests.loopback [PORT]` prints its URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from tests.loopback_cloudflare import OF_CLOUDFLARE, asked_of_cloudflare
from tests.loopback_plays import Abort, Play, Recipe, play_for


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    connection: int

    @property
    def body(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.raw)
        return decoded


@dataclass(slots=True)
class Loopback:
    """The server, in a thread and an event loop of its own."""

    host: str = "127.0.0.1"
    port: int = 0
    # Plays of one test, looked up by model before the shipped ones.
    plays: dict[str, Play | Recipe] = field(default_factory=dict)
    requests: list[Received] = field(default_factory=list)
    # How many exchanges a client left before their end.
    left: int = 0
    connections: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None
    _stop: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """What an upstream's base_url is set to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    @property
    def last(self) -> Received:
        return self.requests[-1]

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve(started.set)))
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError("the loopback upstream did not start")
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._loop and self._stop and self._thread:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    async def serve(self, started: Callable[[], None]) -> None:
        """Serve until stopped; calls `started` when the port is known."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._talk, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        started()
        await self._stop.wait()
        server.close()
        talks = asyncio.all_tasks() - {asyncio.current_task()}
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        try:
            while (request := await _read_request(reader, connection)) is not None:
                self.requests.append(request)
                if not await self._answer(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left += 1
        except asyncio.CancelledError:
            pass  # The server stops; asyncio's streams would log it.
        finally:
            writer.close()

    async def _answer(
        self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Play the answer; whether the connection may serve another request."""
        # A GET has no body: its path picks the play.
        body = request.body if request.raw else {"model": request.path}
        play = play_for(asked_of_cloudflare(request.path, body), OF_CLOUDFLARE | self.plays)
        watch = asyncio.ensure_future(reader.read(1))
        try:
            for step in play.steps():
                if isinstance(step, Abort):
                    writer.transport.abort()
                    return False
                if isinstance(step, float):
                    await asyncio.wait([watch], timeout=step)
                else:
                    writer.write(step)
                    await writer.drain()
                if watch.done():
                    raise ConnectionResetError
        finally:
            await _end(watch)
        return play.keep_alive


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _version = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, raw, connection)


async def _end(watch: asyncio.Future[bytes]) -> None:
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        await watch


def main() -> None:
    """Serve until killed."""
    loopback = Loopback(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    asyncio.run(loopback.serve(lambda: print(loopback.url, flush=True)))


if __name__ == "__main__":
    main()
