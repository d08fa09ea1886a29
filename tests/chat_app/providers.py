"""What tests of providers share: a call, an upstream on the loopback, and reading to the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from chat_app.providers.base import Answer, Event, Provider, ProviderError, UpstreamCall
from chat_app.providers.http import Transport
from chat_app.providers.openai import OpenAIProvider
from chat_app.schema import Message
from tenants_app.networks import Network, parse_networks
from tenants_app.snapshots import RouteSnapshot
from tests.chat_app.snapshots import route, upstream
from tests.loopback import Loopback

LOOPBACK = parse_networks(["127.0.0.0/8", "::1/128"])
SECONDS = 900.0
PROMPT = "What is the airspeed velocity of an unladen swallow?"


@asynccontextmanager
async def openai(allowed: Iterable[Network] = LOOPBACK) -> AsyncIterator[OpenAIProvider]:
    """An openai provider that may reach the loopback, closed at the end."""
    transport = Transport(allowed=allowed)
    try:
        yield OpenAIProvider(transport)
    finally:
        await transport.aclose()


def via(loopback: Loopback, model: str, **timeouts: Any) -> RouteSnapshot:
    return route(model, upstream(kind="openai", base_url=loopback.url, **timeouts))


def call(**changes: Any) -> UpstreamCall:
    return UpstreamCall(**{"messages": (Message("user", PROMPT),), "max_tokens": 64, **changes})


@dataclass(slots=True)
class Heard:
    """What came of one exchange."""

    events: list[Event] = field(default_factory=list)
    error: ProviderError | None = None
    opened: bool = False
    answer: Answer | None = None

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


async def hear(
    provider: Provider, route: RouteSnapshot, asked: UpstreamCall, *, seconds: float = SECONDS
) -> Heard:
    """The whole exchange, to its end or failure."""
    heard = Heard()
    try:
        heard.answer = await provider.open(route, asked, seconds=seconds)
        heard.opened = True
        async for events in heard.answer:
            assert events
            heard.events += events
    except ProviderError as exc:
        heard.error = exc
    finally:
        if heard.answer:
            await heard.answer.aclose()
    return heard


async def until(happened: Callable[[], bool]) -> bool:
    """Whether it happens, in another thread, within three seconds."""
    deadline = time.monotonic() + 3
    while not happened() and time.monotonic() < deadline:  # noqa: ASYNC110 - another loop
        await asyncio.sleep(0.005)
    return happened()
