"""How a stream is sent: kept alive in its silence, and given up when nobody reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chat_app.event_stream import EventStreamResponse
from chat_app.sse import KEEP_ALIVE
from gateway_project import handler

PACE = (handler.KEEP_ALIVE_SECONDS, handler.STALLED_SECONDS)
FIRST, LAST = b"data: 1\n\n", b"data: 2\n\n"


class Source:
    """A stream that says nothing for a while, in between."""

    def __init__(self, silence_seconds: float) -> None:
        self.silence_seconds = silence_seconds
        self.closed = False

    async def frames(self) -> AsyncIterator[bytes]:
        yield FIRST
        await asyncio.sleep(self.silence_seconds)
        yield LAST

    async def farewell(self) -> bytes:
        raise AssertionError("the server does not stop here")

    async def aclose(self) -> None:
        self.closed = True


class Client:
    """One that stays, and reads all, or nothing from `stops_at` on."""

    def __init__(self, stops_at: bytes | None = None) -> None:
        self.stops_at = stops_at
        self.is_reading = True
        self.heard: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        return await asyncio.Future()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            self.is_reading = self.is_reading and message["body"] != self.stops_at
            if not self.is_reading:
                await asyncio.Future()
            self.heard.append(message["body"])


def relay(source: Source, client: Client) -> None:
    """As `handle` does with a view's stream."""

    async def main() -> None:
        hangup = handler._Hangup(client.receive)
        try:
            await handler._relay(EventStreamResponse(source), client.send, hangup)
        except asyncio.CancelledError:
            if not hangup.happened:
                raise
        finally:
            hangup.stop_watching()

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(handler, "STALLED_SECONDS", 0.1)


def test_silence_is_filled_with_comments() -> None:
    client = Client()
    relay(Source(silence_seconds=0.4), client)
    first, *between, last = client.heard
    assert (first, last) == (FIRST, LAST)
    assert 2 <= len(between) <= 8
    assert set(between) == {KEEP_ALIVE} == {b": keep-alive\n\n"}


def test_a_stream_that_speaks_needs_no_comments() -> None:
    client = Client()
    relay(Source(silence_seconds=0.0), client)
    assert client.heard == [FIRST, LAST]


@pytest.mark.parametrize("stops_at", [FIRST, LAST, KEEP_ALIVE])
def test_a_client_that_reads_nothing_is_given_up(stops_at: bytes) -> None:
    source = Source(silence_seconds=0.3)
    relay(source, Client(stops_at))
    assert source.closed


def test_the_pace_is_the_contract_s() -> None:
    assert PACE == (15, 60)
