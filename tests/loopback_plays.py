"""The plays of the loopback upstream: what it answers, byte by byte, to the model asked for."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class Abort:
    """A step: reset the connection."""


# Bytes to write, seconds to wait, or the end of the connection.
Step = bytes | float | Abort

WORDS = ("Hello", " from", " the", " loopback", " upstream", ".")
TEXT = "".join(WORDS)
USAGE = {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16}
DONE = b"data: [DONE]\n\n"
JSON = (("content-type", "application/json"),)
SSE = (("content-type", "text/event-stream"),)


@dataclass(frozen=True, slots=True)
class Play:
    """One answer. `framing` says how the body's end is told: chunked, length, or close."""

    body: Sequence[Step] = ()
    status: int = 200
    headers: Sequence[tuple[str, str]] = SSE
    framing: str = "chunked"
    before: Sequence[Step] = ()
    # Replaces everything above: the bytes of the answer as they go out.
    raw: Sequence[Step] | None = None

    @property
    def keep_alive(self) -> bool:
        return self.raw is None and self.framing != "close"

    def steps(self) -> Iterator[Step]:
        if self.raw is not None:
            yield from self.raw
            return
        yield from self.before
        yield self._head()
        for step in self.body:
            if self.framing == "chunked" and isinstance(step, bytes):
                yield b"%x\r\n%b\r\n" % (len(step), step)
            else:
                yield step
        if self.framing == "chunked":
            yield b"0\r\n\r\n"

    def _head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Played", *(f"{n}: {v}" for n, v in self.headers)]
        if self.framing == "chunked":
            lines.append("transfer-encoding: chunked")
        elif self.framing == "length":
            size = sum(len(step) for step in self.body if isinstance(step, bytes))
            lines.append(f"content-length: {size}")
        else:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


Recipe = Callable[[dict[str, Any]], Play]


def play_for(body: dict[str, Any], own: Mapping[str, Play | Recipe]) -> Play:
    """The play that the request's model names; a plain good answer for a model of no fame."""
    name = str(body.get("model"))
    if paced := re.fullmatch(r"paced-(\d+)-(\d+)", name):
        return paced_stream(int(paced[1]), int(paced[2]) / 1000)
    found = own.get(name) or PLAYS.get(name) or good
    return found if isinstance(found, Play) else found(body)


# Bodies in OpenAI's shape


def data(value: object, end: bytes = b"\n\n") -> bytes:
    return b"data: " + json.dumps(value).encode() + end


def chunk(delta: Mapping[str, object], finish: str | None = None, **more: object) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}


def words(**more: Any) -> list[bytes]:
    return [data(chunk({"content": word}, **more)) for word in WORDS]


ROLE = data(chunk({"role": "assistant", "content": ""}))
STOP = data(chunk({}, "stop"))
USAGE_CHUNK = data({"id": "c", "choices": [], "usage": USAGE})


def completion(content: object = TEXT, **more: object) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": "stop",
    }
    whole = {"id": "c", "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}
    return json.dumps(whole).encode()


def plain(body: bytes, status: int = 200, **headers: Any) -> Play:
    """An answer of known length."""
    extra = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Play([body], status, JSON + extra, framing="length")


def failure(status: int, message: str, **headers: str) -> Play:
    error = {"message": message, "type": "some_error", "param": None, "code": "some_code"}
    return plain(json.dumps({"error": error}).encode(), status, **headers)


def stream(*body: Step, framing: str = "chunked") -> Play:
    return Play(body, framing=framing, headers=(*SSE, ("x-request-id", "req-stream")))


def split(*body: bytes) -> list[Step]:
    """The same bytes, one by one, each in a packet of its own where the kernel lets it."""
    whole = b"".join(body)
    steps: list[Step] = []
    for i in range(len(whole)):
        steps += [whole[i : i + 1], 0.0]
    return steps


# The plays


def good(body: dict[str, Any]) -> Play:
    if not body.get("stream"):
        return plain(completion(), x_request_id="req-plain")
    usage = [USAGE_CHUNK] if (body.get("stream_options") or {}).get("include_usage") else []
    return stream(ROLE, *words(), STOP, *usage, DONE)


def either(play: Play, plain_body: bytes) -> Recipe:
    """`play` for a streamed call, `plain_body` for another."""
    return lambda body: play if body.get("stream") else plain(plain_body)


def paced_stream(count: int, pause: float) -> Play:
    """`count` words, each in a write of its own, for benchmarks."""
    steps: list[Step] = []
    for _ in range(count):
        steps += [data(chunk({"content": " word"})), pause]
    usage = {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": count + 10}
    return stream(*steps, STOP, data({"choices": [], "usage": usage}), DONE)


def growing_usage() -> list[bytes]:
    return [
        data(chunk({"content": word}, usage={"prompt_tokens": 10, "completion_tokens": n}))
        for n, word in enumerate(WORDS, 1)
    ]


ERROR = {"error": {"message": "the model fell over", "type": "server_error", "code": None}}
WHOLE = (ROLE, *words(), STOP, USAGE_CHUNK, DONE)
CRLF = [part.replace(b"\n", b"\r\n") for part in WHOLE]
HALF = (ROLE, *words()[:3])
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"

PLAYS: dict[str, Play | Recipe] = {
    # Good answers in odd clothes
    "crlf": stream(*CRLF),
    "split": stream(*split(*WHOLE)),
    "one-write": stream(b"".join(WHOLE)),
    "comments": stream(b": hi\n\n", *(b": x\n" + part for part in WHOLE)),
    "bom": stream(b"\xef\xbb\xbf" + ROLE, *WHOLE[1:]),
    "no-done": stream(*WHOLE[:-1]),
    "no-done-close": stream(*WHOLE[:-1], framing="close"),
    "no-last-newline": stream(ROLE, *words(), STOP, USAGE_CHUNK.rstrip()),
    "late-end": stream(*WHOLE, 0.03),
    "two-reasons": stream(ROLE, *words(), STOP, STOP, USAGE_CHUNK, DONE),
    "after-done": stream(*WHOLE, *words()),
    "no-usage": either(stream(ROLE, *words(), STOP, DONE), completion(usage=None)),
    "usage-on-each": stream(ROLE, *growing_usage(), STOP, DONE),
    "zero-usage-last": stream(
        *WHOLE[:-1], data({"choices": [], "usage": dict.fromkeys(USAGE, 0)}), DONE
    ),
    "no-finish-reason": stream(ROLE, *words(), DONE),
    "null-content": stream(
        data(chunk({"role": "assistant", "content": None})), data({"object": "ping"}), *WHOLE
    ),
    "reasoning": stream(data(chunk({"reasoning_content": "hm"})), *WHOLE),
    "broken-utf8": stream(b'data: {"choices":[{"delta":{"content":"a\xffb"}}]}\n\n', STOP, DONE),
    "set-cookie": lambda body: plain(completion(), Set_Cookie="session=of-another-tenant"),
    # Refusals
    "unauthorized": failure(401, "Incorrect API key provided: sk-abcdefghijklmnop"),
    "rate-limited": failure(429, "Slow down", Retry_After="7", x_request_id="req-429"),
    "bad-request": failure(400, "This model's maximum context length is 4096 tokens"),
    "error": failure(500, "The server had an error"),
    "overloaded": Play([b"<html>502</html>"], 502, (("content-type", "text/html"),), "length"),
    "redirect": plain(b"{}", 302, Location="http://169.254.169.254/latest/meta-data"),
    # Failures
    "cut": stream(*HALF, 0.02, Abort()),
    "cut-after-finish": stream(ROLE, *words(), STOP, 0.02, Abort()),
    "cut-clean": stream(*HALF, framing="close"),
    "cut-before-answer": Play(raw=[0.02, Abort()]),
    "close-before-answer": Play(raw=[]),
    "cut-before-event": stream(b": wait\n\n", 0.02, Abort()),
    "cut-json": Play(raw=[b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{", 0.02, Abort()]),
    "error-first": stream(data(ERROR)),
    "error-in-stream": stream(*HALF, data(ERROR), DONE),
    "empty": either(stream(), b""),
    "empty-choices": plain(b'{"choices":[]}'),
    "error-in-200": plain(json.dumps(ERROR).encode()),
    "not-json": either(stream(b"data: oops {\n\n"), b"<html>"),
    "json-for-a-stream": plain(completion()),
    "not-http": Play(raw=[b"220 smtp.example ESMTP\r\n\r\n"]),
    "gzip": Play([gzip.compress(completion())], 200, (("content-encoding", "gzip"),), "length"),
    "huge-header": Play(raw=[HEAD + b"x-big: " + b"x" * 100_000 + b"\r\n\r\n"]),
    "many-headers": Play(raw=[HEAD + b"x-a: b\r\n" * 10_000 + b"\r\n"]),
    "huge-line": stream(ROLE, *[b"data: " + b"x" * 65_536] * 40),
    "huge-event": stream(ROLE, *[b"data: " + b"x" * 65_536 + b"\n"] * 80),
    "huge-body": Play(
        [b'{"choices":[', *[b" " * 1_000_000] * 9, 30.0, b"]}"], 200, JSON, framing="chunked"
    ),
    "huge-length": Play(raw=[b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{"]),
    # Slow ones; tests use short timeouts
    "slow-head": Play(before=[30.0], body=WHOLE),
    "slow-first-event": stream(30.0, *WHOLE),
    "stall": stream(*HALF, 30.0, STOP, DONE),
    "slow-json": Play([b'{"choices":', 30.0, b"[]}"], 200, JSON, "length"),
    "drip": stream(ROLE, *(step for word in words() * 100 for step in (word, 0.05))),
}
