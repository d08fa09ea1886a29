"""A loopback upstream for benchmarks: fixed bytes on raw sockets, so that it is never the
bottleneck.

Run as a process of its own; prints its port. A prompt that says `chunks=N` is streamed in N chunks.
"""

import asyncio
import json
import re
import sys

CHUNK_SECONDS = 0.01

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Sixteen tons of number nine coal."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21},
    }
).encode()
WHOLE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: bench-1\r\n"
    b"content-length: %d\r\n\r\n" % len(ANSWER)
) + ANSWER
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
CHUNKS = re.compile(rb"chunks=(\d+)")


def chunk(event: bytes) -> bytes:
    """One event as one HTTP chunk."""
    data = b"data: " + event + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def delta(content: str, finish: str | None = None) -> bytes:
    """One OpenAI chunk."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    kept = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    return json.dumps(kept | {"choices": [choice]}).encode()


WORD = chunk(delta(" seven"))
USAGE = json.dumps(
    {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21}}
).encode()
STREAM_TAIL = chunk(delta("", "stop")) + chunk(USAGE) + chunk(b"[DONE]") + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not separator or length is None or len(body) < int(length[1]):
            return
        self.received = b""
        chunks = CHUNKS.search(body)
        if chunks is None:
            self.transport.write(WHOLE)
        else:
            self.transport.write(STREAM_HEAD)
            self._next(int(chunks[1]))

    def _next(self, left: int) -> None:
        if self.transport.is_closing():
            return
        if not left:
            self.transport.write(STREAM_TAIL)
            return
        self.transport.write(WORD)
        asyncio.get_running_loop().call_later(CHUNK_SECONDS, self._next, left - 1)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
