"""What tests of providers share: a call, an upstream on the loopback, and reading to the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from chat_app.providers.base import Answer, Event, Provider, ProviderError, UpstreamCall
from chat_app.providers.cloudflare import CloudflareProvider
from chat_app.providers.http import Transport
from chat_app.providers.openai import OpenAIProvider
from chat_app.schema import Message
from tenants_app.networks import Network, parse_networks
from tenants_app.sealed import seal
from tenants_app.snapshots import RouteSnapshot
from tests.chat_app.snapshots import route, upstream
from tests.loopback import Loopback
from tests.loopback_cloudflare import AUTHOR

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


@asynccontextmanager
async def cloudflare(**deployment: str) -> AsyncIterator[CloudflareProvider]:
    """A cloudflare provider that may reach the loopback, with the deployment's address or token."""
    transport = Transport(allowed=LOOPBACK)
    try:
        yield CloudflareProvider(transport, **deployment)
    finally:
        await transport.aclose()


def gateway_via(loopback: Loopback, model: str, form: str = "rest", **fields: Any) -> RouteSnapshot:
    """A route to a model of Workers AI that the loopback plays, in one of the three forms."""
    ids = {"account_id": "acc-1", "gateway_id": "gate_1", "base_url": loopback.url, **fields}
    return route(f"{AUTHOR}{model}", upstream(kind="cloudflare", form=form, **ids))


def via(loopback: Loopback, model: str, **timeouts: Any) -> RouteSnapshot:
    return route(model, upstream(kind="openai", base_url=loopback.url, **timeouts))


def with_token(target: RouteSnapshot, token: str) -> RouteSnapshot:
    """The same, with this token of its upstream's own."""
    up = target.upstream
    sealed = seal(token, context=f"tenants_app_upstream.sealed_token:{up.uuid}") if token else None
    return replace(target, upstream=replace(up, sealed_token=sealed))


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
