"""Many clients at once, some of whom leave too early; and single ones who misbehave on a socket."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import aiohttp

from tenants_app.keys import IssuedKey
from tests.live import Frame, Server, frames

CLIENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How one request of a crowd ended: its status, its error's code, and a stream's frames.

    Status 0: the connection broke before there was an answer. `id` is the ledger's for it.
    """

    status: int
    code: str | None = None
    frames: Sequence[Frame] = ()
    left: bool = False
    id: str = ""

    @property
    def outcome(self) -> tuple[int, str | None]:
        return self.status, self.code


def body(message: str = "hello", **fields: Any) -> dict[str, Any]:
    """A chat request in a session of its own."""
    return {"sessionId": str(uuid4()), "message": message, "stream": False, **fields}


def crowd(
    servers: Sequence[Server],
    keys: Sequence[IssuedKey],
    *,
    count: int = 200,
    leaves: Callable[[int], bool] = lambda number: False,
    **fields: Any,
) -> list[Ending]:
    """`count` requests at once, dealt out to the servers and keys in turn.

    Those that `leaves` names hang up when they have their first frame.
    """

    async def everyone() -> list[Ending]:
        timeout = aiohttp.ClientTimeout(total=CLIENT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            return await asyncio.gather(
                *(
                    request(
                        session,
                        servers[number % len(servers)],
                        keys[number // len(servers) % len(keys)],
                        leave=leaves(number),
                        **fields,
                    )
                    for number in range(count)
                )
            )

    return asyncio.run(everyone())


async def request(
    session: aiohttp.ClientSession,
    server: Server,
    key: IssuedKey,
    *,
    leave: bool = False,
    **fields: Any,
) -> Ending:
    """One POST /chat from its beginning to its end, or to its first frame for one who leaves."""
    headers = {"authorization": f"Bearer {key.secret}"}
    try:
        async with session.post(
            f"{server.url}/chat", json=body(**fields), headers=headers
        ) as response:
            if leave and response.status == 200:
                await response.content.readany()
                response.close()
                return Ending(200, left=True)
            request_id = response.headers.get("x-request-id", "")
            return replace(ending(response.status, await response.text()), id=request_id)
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
        return Ending(0)


def ending(status: int, text: str) -> Ending:
    """What an answer's text says: a stream's error is told in a frame."""
    if text.startswith("{"):
        return Ending(status, json.loads(text).get("error", {}).get("code"))
    events = frames(text)
    told = [data["code"] for event, data in events if event == "error"]
    return Ending(status, told[0] if told else None, events)


def outcomes(endings: Sequence[Ending]) -> Counter[tuple[int, str | None]]:
    return Counter(ending.outcome for ending in endings)


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    """A raw connection; leaving the block hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        yield connection


def raw_request(key: IssuedKey, content: bytes, *, length: int | None = None) -> bytes:
    """The bytes of a POST /chat; `length` is what it says of its body."""
    lines = [
        "POST /chat HTTP/1.1",
        "host: tollgate",
        f"authorization: Bearer {key.secret}",
        "content-type: application/json",
        f"content-length: {len(content) if length is None else length}",
    ]
    return "\r\n".join((*lines, "", "")).encode() + content
