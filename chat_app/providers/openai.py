"""Any server that speaks OpenAI's Chat Completions: sends the call, relays the answer as events.

Owns the exchange and what each of its failures means; the shapes are in openai_wire.py, the wire is
in http.py.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Self, cast

import httpx
import structlog

from chat_app import sse
from chat_app.providers.base import (
    Answer,
    Event,
    ProviderError,
    UpstreamBroken,
    UpstreamCall,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
    WholeAnswer,
)
from chat_app.providers.excerpts import MAX_BODY_BYTES, excerpt
from chat_app.providers.http import Body, Timeouts, Transport
from chat_app.providers.openai_wire import ChunkReader, Unreadable, request_body
from tenants_app.sealed import CannotOpen

if TYPE_CHECKING:
    from tenants_app.snapshots import RouteSnapshot, UpstreamSnapshot

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60
# An upstream may take this long over the text of a refusal, and over the bytes after [DONE].
REFUSAL_SECONDS = 2.0
DRAIN_SECONDS = 0.1
# OpenAI's own newer models refuse max_tokens; most other servers know no other name, and one that
# ignores an unknown name would answer past the budget.
NEW_CAP_HOSTS = ("api.openai.com", ".openai.azure.com")
METADATA_HEADERS = {
    "tenantId": "x-tollgate-tenant-id",
    "traceId": "x-tollgate-trace-id",
    "sessionId": "x-tollgate-session-id",
    "route": "x-tollgate-route",
}

log = structlog.get_logger(__name__)
_HEADER_TEXT = re.compile(r"[\x21-\x7e]{1,512}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,8000}")
_REFERENCE = re.compile(r"[\x21-\x7e]{1,200}")


class OpenAIProvider:
    """Provider for upstreams of kind openai."""

    def __init__(self, transport: Transport, *, total_seconds: float) -> None:
        """`total_seconds` bounds every exchange, whatever the upstream's own timeouts say."""
        self._transport = transport
        self._total_seconds = total_seconds

    async def open(self, route: RouteSnapshot, call: UpstreamCall) -> Answer:
        """See Provider.open."""
        token = _token(route.upstream)
        request = _request(route, call, token, self._timeouts(route.upstream))
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.TransportError as exc:
            failure = _failure(exc)
        else:
            return await Exchange(route, call, token, response).begin()
        raise failure

    def _timeouts(self, upstream: UpstreamSnapshot) -> Timeouts:
        total = min(upstream.total_timeout_ms / 1000, self._total_seconds)
        return Timeouts(
            connect=min(upstream.connect_timeout_ms / 1000, total),
            first_byte=min(upstream.first_byte_timeout_ms / 1000, total),
            idle=upstream.idle_timeout_ms / 1000,
            total=total,
        )


@dataclass(repr=False, slots=True)
class Exchange:
    """A request whose answer has a head: reads its body, and says what went wrong with it."""

    route: RouteSnapshot
    call: UpstreamCall
    token: str
    response: httpx.Response

    @property
    def body(self) -> Body:
        return cast(Body, self.response.stream)

    @property
    def headers(self) -> dict[str, str]:
        """The few that the transport kept, by lower-case name."""
        return {name.decode(): value.decode() for name, value in self.response.headers.raw}

    @property
    def reference(self) -> str | None:
        headers = self.headers
        value = headers.get("cf-aig-log-id") or headers.get("x-request-id") or ""
        return value if _REFERENCE.fullmatch(value) else None

    async def begin(self) -> Answer:
        """The answer, read up to its first event, or whole if it is not streamed."""
        headers = self.headers
        try:
            if self.response.status_code != 200:
                raise await self._refusal()
            if headers.get("content-encoding", "identity") != "identity":
                # A few bytes of gzip can make gigabytes, and we asked for none.
                raise self.broken("the answer is compressed")
            # Some servers answer in one piece even when asked for a stream.
            if not self.call.stream or "json" in headers.get("content-type", ""):
                return await self._whole()
            return await StreamedAnswer(self).begin()
        except BaseException:
            # Also when the client leaves while we wait for the first event.
            await self.body.aclose()
            raise

    def broken(self, what: str) -> UpstreamBroken:
        return UpstreamBroken(what, status=self.response.status_code, reference=self.reference)

    def broken_by(self, error: bytes) -> UpstreamBroken:
        """The failure that an error object in place of an answer tells of."""
        return self.broken(self._excerpt(error))

    def lost(self, exc: httpx.TransportError) -> ProviderError:
        return _failure(exc, status=self.response.status_code, reference=self.reference)

    def note_usage(self, reader: ChunkReader) -> None:
        if reader.usage_problem:
            log.warning(
                "upstream_usage_ignored",
                upstream=self.route.upstream.name,
                model=self.route.upstream_model,
                problem=reader.usage_problem,
            )

    async def _whole(self) -> WholeAnswer:
        reader = ChunkReader()
        body = await self._read(MAX_ANSWER_BYTES)
        if len(body) > MAX_ANSWER_BYTES:
            raise self.broken(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        try:
            events = reader.read_whole(body)
        except Unreadable as exc:
            raise self.broken(f"the answer is {exc}") from None
        if reader.error is not None:
            raise self.broken_by(reader.error)
        if not reader.begun:
            raise self.broken("the answer has no choices")
        self.note_usage(reader)
        await self.body.aclose()
        return WholeAnswer(self.response.status_code, self.reference, events)

    async def _refusal(self) -> ProviderError:
        status, headers = self.response.status_code, self.headers
        try:
            async with asyncio.timeout(REFUSAL_SECONDS):
                text = self._excerpt(await self._read(MAX_BODY_BYTES))
        except (TimeoutError, ProviderError):
            text = ""
        if status == 429:
            after = _retry_after(headers.get("retry-after", ""))
            return UpstreamRateLimited(text, reference=self.reference, retry_after=after)
        kind = UpstreamRejected if 300 <= status < 500 else UpstreamBroken
        return kind(text, status=status, reference=self.reference)

    async def _read(self, limit: int) -> bytes:
        """The body; of a longer one than `limit`, a beginning that is longer than that."""
        parts: list[bytes] = []
        size = 0
        try:
            async for part in self.body:
                parts.append(part)
                size += len(part)
                if size > limit:
                    break
        except httpx.TransportError as exc:
            failure = self.lost(exc)
        else:
            return b"".join(parts)
        raise failure

    def _excerpt(self, body: bytes) -> str:
        prompts = (message.content for message in self.call.messages)
        return excerpt(body, secret=self.token, prompts=prompts)


class StreamedAnswer:
    """An answer that is still coming; see Answer."""

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.response.status_code
        self.reference = exchange.reference
        self._exchange = exchange
        self._body = exchange.body
        self._parser = sse.Parser()
        self._reader = ChunkReader()
        self._first: list[Event] = []
        self._failure: ProviderError | None = None
        self._ended = False

    async def begin(self) -> Self:
        """Read up to the first chunk of an answer; a failure before any event is raised here."""
        while not self._reader.begun and self._failure is None and not self._ended:
            self._first = await self._read()
        if self._failure is not None and not self._first:
            raise self._failure
        if not self._reader.begun:
            raise self._exchange.broken("the answer is empty")
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Event]:
        if self._first:
            events, self._first = self._first, []
            return events
        while self._failure is None and not self._ended:
            if events := await self._read():
                return events
        if self._reader.done and self._failure is None:
            # The end of the body is a few bytes away; without them the connection is lost.
            await self._body.drain(DRAIN_SECONDS)
        await self.aclose()
        self._exchange.note_usage(self._reader)
        raise self._failure or StopAsyncIteration

    async def aclose(self) -> None:
        """See Answer.aclose."""
        self._ended = True
        self._first = []
        await self._body.aclose()

    async def _read(self) -> list[Event]:
        """The events of the next network read; a failure is kept until they are given."""
        try:
            frames = self._parser.feed(await anext(self._body))
        except StopAsyncIteration:
            self._ended = True
            frames = self._parser.finish()
        except httpx.TransportError as exc:
            # Closed by us; or cut after the finish reason, where nothing but usage is lost.
            if self._ended or self._reader.finished:
                self._ended = True
            else:
                self._failure = self._exchange.lost(exc)
            return []
        except sse.StreamTooLarge as exc:
            self._failure = self._exchange.broken(str(exc))
            return []
        return self._events(frames)

    def _events(self, frames: list[sse.Frame]) -> list[Event]:
        reader = self._reader
        events: list[Event] = []
        try:
            reader.read(frames, events)
        except Unreadable as exc:
            self._failure = self._exchange.broken(f"an event is {exc}")
        if reader.error is not None:
            self._failure = self._exchange.broken_by(reader.error)
        elif reader.done:
            self._ended = True
        elif self._ended and not reader.complete and self._failure is None:
            self._failure = self._exchange.broken("the stream ended before the answer did")
        return events


def _request(
    route: RouteSnapshot, call: UpstreamCall, token: str, timeouts: Timeouts
) -> httpx.Request:
    upstream = route.upstream
    url, cap_field = _endpoint(upstream.base_url)
    headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if call.stream else "application/json"),
    ]
    if token:
        headers.append(("authorization", f"Bearer {token}"))
    for name, value in call.metadata.items():
        if name in METADATA_HEADERS and _HEADER_TEXT.fullmatch(value):
            headers.append((METADATA_HEADERS[name], value))
    body = request_body(route.upstream_model, call, cap_field=cap_field)
    # Given a stream, httpx leaves Host and Content-Length to the session, which sets them anyway.
    return httpx.Request(
        "POST",
        url,
        headers=headers,
        stream=httpx.ByteStream(body),
        extensions={"timeout": timeouts},
    )


def _token(upstream: UpstreamSnapshot) -> str:
    """The plain token, "" without one; nothing is sent with a token that cannot be used."""
    try:
        token = upstream.open_token()
    except CannotOpen:
        raise UpstreamUnreachable("the upstream's token cannot be opened") from None
    if token and not _TOKEN.fullmatch(token):
        raise UpstreamUnreachable("the upstream's token has characters no header can carry")
    return token


@lru_cache(maxsize=1024)
def _endpoint(base_url: str) -> tuple[httpx.URL, str]:
    """Where to send, and under which name the output cap is known there."""
    try:
        url = httpx.URL(f"{base_url.rstrip('/')}/chat/completions")
    except httpx.InvalidURL:
        raise UpstreamUnreachable("the upstream's base URL is not a URL") from None
    host = f".{url.host}"
    new = any(host.endswith(name if name.startswith(".") else f".{name}") for name in NEW_CAP_HOSTS)
    return url, "max_completion_tokens" if new else "max_tokens"


def _failure(
    exc: httpx.TransportError, *, status: int | None = None, reference: str | None = None
) -> ProviderError:
    """What a failure of the wire means. Only before the head may nothing have been sent."""
    text = str(exc)
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        return UpstreamUnreachable(text)
    if isinstance(exc, httpx.TimeoutException):
        return UpstreamTimeout(text, status=status, reference=reference)
    return UpstreamBroken(text, status=status, reference=reference)


def _retry_after(value: str) -> int | None:
    """Whole seconds, bounded; the other form, a date, needs clocks that agree."""
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        return None
    return min(int(value), MAX_RETRY_AFTER_SECONDS)
