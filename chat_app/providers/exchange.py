"""One exchange with an upstream, whatever its provider: send, relay the answer, say what failed.

Owns the order of things and their bounds. What the bytes mean is the provider's Dialect, what each
failure means is in failures.py; the wire is http.py.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, cast

import httpx
import structlog

from chat_app import sse
from chat_app.providers import failures
from chat_app.providers.base import (
    Answer,
    Event,
    Head,
    ProviderError,
    UpstreamBroken,
    UpstreamCall,
    WholeAnswer,
)
from chat_app.providers.dialect import Dialect, Reader, Refusal, Unreadable
from chat_app.providers.excerpts import MAX_BODY_BYTES, excerpt
from chat_app.providers.http import Body, Transport

if TYPE_CHECKING:
    from tenants_app.snapshots import RouteSnapshot

MAX_ANSWER_BYTES = 8 * 1024 * 1024
# An upstream may take this long over the text of a refusal, and over the bytes after [DONE].
REFUSAL_SECONDS = 2.0
DRAIN_SECONDS = 0.1

log = structlog.get_logger(__name__)
_REFERENCE = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, repr=False, slots=True)
class Asked:
    """A request that is ready to go, and what its answer is understood by."""

    route: RouteSnapshot
    call: UpstreamCall
    token: str
    request: httpx.Request
    dialect: Dialect


async def send(transport: Transport, asked: Asked) -> Answer:
    """The answer, once it has begun; see Provider.open."""
    try:
        response = await transport.handle_async_request(asked.request)
    except httpx.TransportError as exc:
        failure = failures.of_wire(exc)
    else:
        return await Exchange(asked, response).begin()
    # Raised out here, it keeps no reference to the wire's own exception.
    raise failure


@dataclass(repr=False, slots=True)
class Exchange:
    """A request whose answer has a head: reads its body, and says what went wrong with it."""

    asked: Asked
    response: httpx.Response
    headers: dict[str, str] = field(init=False)  # the few that the transport kept, in lower case
    head: Head = field(init=False)

    def __post_init__(self) -> None:
        headers = {name.decode(): value.decode() for name, value in self.response.headers.raw}
        reference = headers.get("cf-aig-log-id") or headers.get("x-request-id") or ""
        self.headers = headers
        self.head = Head(
            self.response.status_code,
            reference if _REFERENCE.fullmatch(reference) else None,
            self.asked.dialect.notes(headers),
        )

    @property
    def body(self) -> Body:
        return cast(Body, self.response.stream)

    async def begin(self) -> Answer:
        """The answer, read up to its first event, or whole if it is not streamed."""
        headers = self.headers
        try:
            if self.head.status != 200:
                raise await self._refusal()
            if headers.get("content-encoding", "identity") != "identity":
                # A few bytes of gzip can make gigabytes, and we asked for none.
                raise self.broken("the answer is compressed")
            # Some servers answer in one piece even when asked for a stream.
            if not self.asked.call.stream or "json" in headers.get("content-type", ""):
                return await self._whole()
            return await StreamedAnswer(self).begin()
        except BaseException:
            # Also when the client leaves while we wait for the first event.
            await self.body.aclose()
            raise

    def broken(self, what: str) -> UpstreamBroken:
        return UpstreamBroken(what, head=self.head)

    def broken_by(self, error: bytes) -> UpstreamBroken:
        """The failure that an error in mid-answer tells of."""
        return self.broken(self._excerpt(error))

    def refused_by(self, error: bytes) -> ProviderError:
        """The failure that an error in place of an answer tells of."""
        refusal = self.asked.dialect.judge(self.head.status, error)
        return self._refused(refusal, error) if refusal else self.broken_by(error)

    def lost(self, exc: httpx.TransportError) -> ProviderError:
        return failures.of_wire(exc, self.head)

    def note_usage(self, reader: Reader) -> None:
        if reader.usage_problem:
            log.warning(
                "upstream_usage_ignored",
                upstream=self.asked.route.upstream.name,
                model=self.asked.route.upstream_model,
                problem=reader.usage_problem,
            )

    async def _whole(self) -> WholeAnswer:
        reader = self.asked.dialect.reader()
        body = await self._read(MAX_ANSWER_BYTES)
        if len(body) > MAX_ANSWER_BYTES:
            raise self.broken(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        try:
            events = reader.read_whole(body)
        except Unreadable as exc:
            raise self.broken(f"the answer is {exc}") from None
        if reader.error is not None:
            raise self.refused_by(reader.error)
        if not reader.begun:
            raise self.broken("the answer has no choices")
        self.note_usage(reader)
        await self.body.aclose()
        return WholeAnswer(self.head.status, self.head.reference, events, self.head.notes)

    async def _refusal(self) -> ProviderError:
        status = self.head.status
        try:
            async with asyncio.timeout(REFUSAL_SECONDS):
                body = await self._read(MAX_BODY_BYTES)
        except (TimeoutError, ProviderError):
            body = b""
        refusal = self.asked.dialect.judge(status, body) or Refusal(status)
        return self._refused(refusal, body)

    def _refused(self, refusal: Refusal, body: bytes) -> ProviderError:
        return failures.of_refusal(refusal, self.head, self.headers, self._excerpt(body))

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
        prompts = (message.content for message in self.asked.call.messages)
        return excerpt(body, secret=self.asked.token, prompts=prompts)


class StreamedAnswer:
    """An answer that is still coming; see Answer."""

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.head.status
        self.reference = exchange.head.reference
        self.notes = exchange.head.notes
        self._exchange = exchange
        self._body = exchange.body
        self._parser = sse.Parser()
        self._reader = exchange.asked.dialect.reader()
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
            blame = self._exchange.broken_by if reader.begun else self._exchange.refused_by
            self._failure = blame(reader.error)
        elif reader.done:
            self._ended = True
        elif self._ended and not reader.complete and self._failure is None:
            self._failure = self._exchange.broken("the stream ended before the answer did")
        return events
