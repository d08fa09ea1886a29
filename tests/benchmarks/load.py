"""A load generator on raw sockets: keep-alive connections that each send the next request when
answered.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Request = Callable[[int], bytes]


@dataclass
class Load:
    """What a run came to; latencies in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: list[bytes] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, percent: int) -> float:
        """In milliseconds."""
        return statistics.quantiles(self.latencies, n=100)[percent - 1] * 1000


async def send(port: int, request: Request, *, requests: int, parallel: int) -> Load:
    """`request(0)`, `request(1)` … `requests` in all, `parallel` at a time; each must be a 200."""
    load = Load()
    left = iter(range(requests))
    began = time.perf_counter()
    await asyncio.gather(*(_connection(port, request, left, load) for _ in range(parallel)))
    load.seconds = time.perf_counter() - began
    return load


async def _connection(port: int, request: Request, left: Iterator[int], load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in left:
        message = request(number)
        began = time.perf_counter()
        writer.write(message)
        answer = await _answer(reader)
        load.latencies.append(time.perf_counter() - began)
        if not answer.startswith(b"HTTP/1.1 200"):
            load.failures.append(answer)
    writer.close()
    await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        body = await reader.readuntil(b"\r\n0\r\n\r\n")
        return head + body
    length = int(lowered.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)
