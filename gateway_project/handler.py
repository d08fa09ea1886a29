"""The lean ASGI handler of the API's paths: one request in, one answer out, every stream closed.

It replaces Django's own handler there, which costs six times as much a request: no middleware, no
signals, no threads, so only async views may live behind it. It owns reading the body, watching for
the client's hang-up and relaying streams; what the answer is, and what it costs, is the views'.
"""

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from time import monotonic
from typing import Any

import structlog
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver

from chat_app.event_stream import RESTARTING, EventSource, EventStreamResponse
from chat_app.sse import KEEP_ALIVE
from tenants_app.api import render_error, stamp
from tenants_app.errors import (
    InternalError,
    NotFound,
    PayloadTooLarge,
    ServiceUnavailable,
    TollgateError,
)
from tenants_app.tracing import trace_of

KEEP_ALIVE_SECONDS = 15.0
STALLED_SECONDS = 60.0
DRAIN_SECONDS = 10.0

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

log = structlog.get_logger(__name__)


class ClientGone(Exception):
    """The client left before its request was complete."""


async def handle(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request of the API. Returns when the answer is out, or the client has left and all
    is settled.
    """
    serving = asyncio.current_task()
    _serving.add(serving)
    try:
        await _serve(scope, receive, send)
    finally:
        _serving.discard(serving)


async def drain() -> None:
    """Wait until the requests that the stopping server has cancelled said goodbye and settled.

    The server itself does not wait for them, and would end the event loop under them.
    """
    loop = asyncio.get_running_loop()
    ending = [task for task in _serving if task is not None and task.get_loop() is loop]
    if ending:
        await asyncio.wait(ending, timeout=DRAIN_SECONDS)


_serving: set[asyncio.Task[None] | None] = set()


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        body, error = await _read_body(scope, receive)
    except ClientGone:
        return
    request = ASGIRequest(scope, BytesIO(body))
    request._body = body
    hangup = _Hangup(receive)
    try:
        response = await _answer(request, error, hangup)
        if isinstance(response, EventStreamResponse):
            await _relay(response, send, hangup)
        else:
            await _send_whole(response, send)
    except asyncio.CancelledError:
        if not hangup.happened:
            raise
    finally:
        hangup.stop_watching()


async def _answer(
    request: ASGIRequest, error: TollgateError | None, hangup: "_Hangup"
) -> HttpResponseBase:
    if error is not None:
        return _refuse(request, error)
    try:
        return await _respond(request)
    except asyncio.CancelledError:
        if hangup.happened:
            raise
        # The server is stopping: without an answer of ours it would send one of its own.
        return _refuse(request, ServiceUnavailable(RESTARTING))


async def _respond(request: ASGIRequest) -> HttpResponseBase:
    try:
        match = _resolve(request.path_info)
    except Resolver404:
        return _refuse(request, NotFound())
    try:
        response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
    except Exception:
        log.exception("view_failed", path=request.path_info)
        return _refuse(request, InternalError())
    return response


def _refuse(request: ASGIRequest, error: TollgateError) -> HttpResponseBase:
    trace = trace_of(request.META)
    return stamp(render_error(error, trace.body_id), trace)


_matches: dict[str, ResolverMatch] = {}


def _resolve(path: str) -> ResolverMatch:
    """The view of a path. Paths without parameters are few, and remembered."""
    match = _matches.get(path)
    if match is None:
        match = get_resolver().resolve(path)
        if not match.args and not match.kwargs:
            _matches[path] = match
    return match


async def _read_body(scope: Scope, receive: Receive) -> tuple[bytes, TollgateError | None]:
    """The whole body, or none and the error when it is over the limit. Raises ClientGone."""
    limit = settings.CHAT_BODY_LIMIT_BYTES
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > limit:
            return b"", PayloadTooLarge(details={"limitBytes": limit})
        if not message.get("more_body", False):
            return body, None


class _Hangup:
    """Cancels the task that serves a request when its client leaves."""

    def __init__(self, receive: Receive) -> None:
        self.happened = False
        self._serving = asyncio.current_task()
        self._watching = asyncio.get_running_loop().create_task(self._watch(receive))

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.now()

    def now(self) -> None:
        self.happened = True
        if self._serving is not None:
            self._serving.cancel()

    def stop_watching(self) -> None:
        self._watching.cancel()
        if self.happened and self._serving is not None:
            self._serving.uncancel()


async def _send_whole(response: HttpResponseBase, send: Send) -> None:
    content: bytes = response.content  # type: ignore[attr-defined]  # a view behind us returns bytes
    headers = _headers(response)
    headers.append((b"content-length", b"%d" % len(content)))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    # The mapping's own items() looks every name up again, which is most of what this costs.
    pairs = response.headers._store.values()
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


async def _relay(response: EventStreamResponse, send: Send, hangup: _Hangup) -> None:
    """Send a stream to its end and close its source in every ending, shielded from cancellation:
    that is where a turn is charged whose client has left.
    """
    source = response.source
    pace = _Pace(send, hangup)
    try:
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": _headers(response),
            }
        )
        async for chunk in source.frames():
            await pace.send(chunk)
        await pace.send(b"", more=False)
    except asyncio.CancelledError:
        if not hangup.happened:  # the server is stopping: the client is told
            await asyncio.shield(_say_farewell(source, send))
        raise
    finally:
        pace.stop()
        await asyncio.shield(source.aclose())


async def _say_farewell(source: EventSource, send: Send) -> None:
    frames = await source.farewell()
    await send({"type": "http.response.body", "body": frames, "more_body": False})


class _Pace:
    """Sends chunks; keeps a silent stream alive, and gives up on a client that reads nothing."""

    def __init__(self, send: Send, hangup: _Hangup) -> None:
        self._send = send
        self._hangup = hangup
        self._sending_since: float | None = None
        self._last_sent = monotonic()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def send(self, chunk: bytes, *, more: bool = True) -> None:
        self._sending_since = monotonic()
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        self._sending_since = None
        self._last_sent = monotonic()

    def stop(self) -> None:
        self._watching.cancel()

    async def _watch(self) -> None:
        while True:
            now = monotonic()
            if self._sending_since is not None:
                if now - self._sending_since > STALLED_SECONDS:
                    self._hangup.now()
                await asyncio.sleep(KEEP_ALIVE_SECONDS)
            elif now - self._last_sent >= KEEP_ALIVE_SECONDS:
                await self._break_silence()
            else:
                await asyncio.sleep(KEEP_ALIVE_SECONDS - (now - self._last_sent))

    async def _break_silence(self) -> None:
        """Nobody watches the watcher, so its own sending is bounded here."""
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self.send(KEEP_ALIVE)
        except TimeoutError:
            self._hangup.now()
