"""What one upstream call and one read of a stream cost this process, by each way to the upstream.

`.venv/bin/python -m tests.benchmarks.transports`: CPU time by the kernel's count, the loopback
upstream in a process of its own. Figures and verdict: docs/adrs/ADR-007-own-upstream-transport.md.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import cache
from uuid import UUID

import aiohttp
import django
import httpx
import httpx_aiohttp
import orjson
import uvloop

from chat_app.providers.base import UpstreamCall
from chat_app.providers.http import Timeouts, Transport
from chat_app.providers.openai import OpenAIProvider
from chat_app.schema import Message
from tenants_app.networks import parse_networks

CALLS, PARALLEL, ROUNDS = 400, 16, 15
STREAMS, READS, PAUSE_MS = 8, 100, 2
MESSAGES = (Message("user", "hello"),)
TIMEOUT = Timeouts(connect=5, first_byte=60, idle=60, total=900)
HEADERS = [
    ("authorization", "Bearer sk-none"),
    ("content-type", "application/json"),
    ("accept-encoding", "identity"),
    ("x-tollgate-tenant-id", "acme"),
    ("x-tollgate-trace-id", "0190a8e2-7c1e-7000-8000-000000000000"),
]

# Sends one body and reads the answer to its end; gives the number of reads.
Way = Callable[[bytes], Awaitable[int]]


def content(model: str, *, stream: bool) -> bytes:
    messages = [{"role": "user", "content": "hello"}]
    return orjson.dumps({"model": model, "messages": messages, "max_tokens": 64, "stream": stream})


async def ways(url: str, closing: AsyncExitStack) -> dict[str, Way]:
    """Each way by its name; `closing` closes what they opened."""
    timeout = httpx.Timeout(60)
    connector = aiohttp.TCPConnector(limit=0)
    session = await closing.enter_async_context(
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    )
    own = await closing.enter_async_context(Transport(allowed=parse_networks(["127.0.0.0/8"])))
    theirs = httpx_aiohttp.AiohttpTransport(client=session)
    client = httpx.AsyncClient(transport=theirs, timeout=timeout, trust_env=False)
    stock = await closing.enter_async_context(httpx.AsyncClient(timeout=timeout, trust_env=False))
    prebuilt = httpx.URL(url)

    async def plain_aiohttp(body: bytes) -> int:
        async with session.post(url, data=body, headers=HEADERS) as answer:
            return len([chunk async for chunk in answer.content.iter_any()])

    return {
        "plain aiohttp": plain_aiohttp,
        "own transport": _by_transport(own, prebuilt, {"timeout": TIMEOUT}, lean=True),
        "own transport and provider": _by_provider(OpenAIProvider(own), url),
        "httpx-aiohttp, transport only": _by_transport(
            theirs, prebuilt, {"timeout": timeout.as_dict()}
        ),
        "httpx-aiohttp, AsyncClient": _by_client(client, prebuilt),
        "httpx alone, AsyncClient": _by_client(stock, prebuilt),
    }


def _by_client(client: httpx.AsyncClient, url: httpx.URL) -> Way:
    async def way(body: bytes) -> int:
        async with client.stream("POST", url, content=body, headers=HEADERS) as answer:
            return len([chunk async for chunk in answer.aiter_raw()])

    return way


def _by_transport(
    transport: httpx.AsyncBaseTransport,
    url: httpx.URL,
    extensions: dict[str, object],
    *,
    lean: bool = False,
) -> Way:
    async def way(body: bytes) -> int:
        # A stream given by itself spares httpx the work on headers that the session does anyway;
        # httpx-aiohttp would send it chunked.
        request = httpx.Request(
            "POST",
            url,
            headers=HEADERS,
            extensions=extensions,
            content=None if lean else body,
            stream=httpx.ByteStream(body) if lean else None,
        )
        answer = await transport.handle_async_request(request)
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        try:
            return len([chunk async for chunk in answer.stream])
        finally:
            await answer.stream.aclose()

    return way


def _by_provider(provider: OpenAIProvider, url: str) -> Way:
    # Django's models come with these, so settings must be there first.
    from tenants_app.snapshots import RouteSnapshot, UpstreamSnapshot

    base_url = url.removesuffix("/chat/completions")
    metadata = {"tenantId": "acme", "traceId": "0190a8e2-7c1e-7000-8000-000000000000"}

    upstream = UpstreamSnapshot(1, UUID(int=1), "loopback", "openai", base_url)

    @cache
    def asked(body: bytes) -> tuple[RouteSnapshot, UpstreamCall]:
        fields = orjson.loads(body)
        call = UpstreamCall(MESSAGES, 64, stream=fields["stream"], metadata=metadata)
        return RouteSnapshot(upstream, fields["model"]), call

    async def way(body: bytes) -> int:
        answer = await provider.open(*asked(body), seconds=900)
        try:
            return len([events async for events in answer])
        finally:
            await answer.aclose()

    return way


async def cpu_per_call(way: Way) -> float:
    """Microseconds of CPU for one answer that is not streamed."""
    body = content("any", stream=False)
    left = iter(range(CALLS))

    async def worker() -> None:
        for _ in left:
            await way(body)

    started = time.process_time()
    await asyncio.gather(*(worker() for _ in range(PARALLEL)))
    return (time.process_time() - started) / CALLS * 1e6


async def cpu_per_read(way: Way) -> float:
    """Microseconds of CPU for one read of a stream, its share of the call included."""
    body = content(f"paced-{READS}-{PAUSE_MS}", stream=True)
    started = time.process_time()
    reads = sum(await asyncio.gather(*(way(body) for _ in range(STREAMS))))
    return (time.process_time() - started) / reads * 1e6


async def measure(url: str) -> None:
    async with AsyncExitStack() as closing:
        costs: list[tuple[str, Way, list[float], list[float]]] = [
            (name, way, [], []) for name, way in (await ways(url, closing)).items()
        ]
        # All in turn, so that a busy moment of the machine hits all alike.
        for _ in range(ROUNDS):
            for _name, way, calls, reads in costs:
                calls.append(await cpu_per_call(way))
                reads.append(await cpu_per_read(way))
    print(f"{f'µs of CPU, best (median) of {ROUNDS}':36}{'a call':>12}{'a read':>16}")
    for name, _way, calls, reads in costs:
        print(f"{name:36}{_figures(calls):>12}{_figures(reads, 1):>16}")


def _figures(costs: list[float], digits: int = 0) -> str:
    """The best round is the one that others disturbed least; the median tells how much they did."""
    return f"{min(costs):.{digits}f} ({statistics.median(costs):.{digits}f})"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    upstream = subprocess.Popen(
        [sys.executable, "-m", "tests.loopback"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert upstream.stdout
        url = upstream.stdout.readline().strip() + "/chat/completions"
        uvloop.run(measure(url))
    finally:
        upstream.kill()
        upstream.wait()


if __name__ == "__main__":
    main()
