"""What one upstream call and one read of a stream cost this process, by each way to the upstream.

`.venv/bin/python -m tests.benchmarks.transports`: CPU time by the kernel's count, the loopback
upstream in a process of its own. Figures and verdict: docs/adrs/ADR-007-own-upstream-transport.md.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import httpx
import orjson
import uvloop

from chat_app.providers.http import Timeouts, Transport
from tenants_app.networks import parse_networks

CALLS, PARALLEL, ROUNDS = 1500, 16, 5
STREAMS, READS, PAUSE_MS = 8, 200, 2
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


async def ways(url: str) -> AsyncIterator[tuple[str, Way]]:
    timeout = httpx.Timeout(60)
    prebuilt = httpx.URL(url)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    )

    async def plain_aiohttp(body: bytes) -> int:
        async with session.post(url, data=body, headers=HEADERS) as answer:
            return len([chunk async for chunk in answer.content.iter_any()])

    yield "plain aiohttp", plain_aiohttp
    own = Transport(allowed=parse_networks(["127.0.0.0/8"]))
    yield "own transport", _by_transport(own, prebuilt, {"timeout": TIMEOUT}, lean=True)
    try:
        import httpx_aiohttp
    except ImportError:
        return
    theirs = httpx_aiohttp.AiohttpTransport(client=session)
    yield (
        "httpx-aiohttp, transport only",
        _by_transport(theirs, prebuilt, {"timeout": timeout.as_dict()}),
    )
    client = httpx.AsyncClient(transport=theirs, timeout=timeout, trust_env=False)

    async def by_client(body: bytes) -> int:
        async with client.stream("POST", prebuilt, content=body, headers=HEADERS) as answer:
            return len([chunk async for chunk in answer.aiter_raw()])

    yield "httpx-aiohttp, AsyncClient", by_client
    stock = httpx.AsyncClient(timeout=timeout, trust_env=False)

    async def by_stock(body: bytes) -> int:
        async with stock.stream("POST", prebuilt, content=body, headers=HEADERS) as answer:
            return len([chunk async for chunk in answer.aiter_raw()])

    yield "httpx alone, AsyncClient", by_stock
    await own.aclose()
    await session.close()
    await stock.aclose()


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
    print(f"{'':32}{'µs a call':>12}{'µs a read':>12}")
    async for name, way in ways(url):
        await cpu_per_call(way)
        calls = statistics.median([await cpu_per_call(way) for _ in range(ROUNDS)])
        reads = statistics.median([await cpu_per_read(way) for _ in range(ROUNDS)])
        print(f"{name:32}{calls:12.0f}{reads:12.1f}", flush=True)


def main() -> None:
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
