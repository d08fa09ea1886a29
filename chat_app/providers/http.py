"""The wire to an upstream: httpx's transport interface over one aiohttp session per event loop.

Owns connections, address checks, timeouts and what httpx exception each failure is. Knows no
provider, no JSON and no events. Why it is our own: docs/adrs/ADR-007-own-upstream-transport.md.
"""

from __future__ import annotations

import asyncio
import errno
import math
import socket
from collections.abc import AsyncIterator, Iterable
from functools import lru_cache
from typing import TypedDict

import aiohttp
import httpx
from yarl import URL

from tenants_app.networks import Network, address_allowed

# All other headers of an answer end here; Set-Cookie above all.
KEPT_HEADERS = (
    "x-request-id",
    "cf-aig-log-id",
    "cf-aig-cache-status",
    "cf-aig-step",
    "cf-aig-model",
    "cf-aig-provider",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "content-type",
    "content-encoding",
)
USER_AGENT = "tollgate"
# Servers of the field (uvicorn, Node) drop an idle connection after 5 s; a request that is sent
# into one that is just being dropped is lost, and cannot safely be sent again.
KEEP_ALIVE_SECONDS = 4.0
DNS_CACHE_SECONDS = 60
READ_BUFFER_BYTES = 64 * 1024
DRAIN_READS = 4
FIRST_BYTE = "first byte"


class Timeouts(TypedDict):
    """Seconds, in a request's `extensions["timeout"]`. Each counts only time spent on the upstream.

    `connect` covers DNS, TCP and TLS; `first_byte` the wait for the head, and then for the first
    read of the body; `idle` the wait for each later read; `total` the whole exchange.
    """

    connect: float
    first_byte: float
    idle: float
    total: float


class Barred(httpx.ConnectError):
    """Nothing was sent, and trying again would not help: an address that is not allowed, say."""


class Transport(httpx.AsyncBaseTransport):
    """Sends requests for the event loop it is first used in; any number at once.

    Redirects are not followed, cookies not kept, proxies of the environment not used, encodings not
    undone. Raises httpx.ConnectError, ConnectTimeout or UnsupportedProtocol when nothing was sent;
    every other httpx.TransportError may come after the request had gone out.
    """

    def __init__(self, *, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts: Timeouts = request.extensions["timeout"]
        if self._closed:
            raise Barred("the transport is closed")
        session = self._session or self._open_session()
        deadline = asyncio.get_running_loop().time() + timeouts["total"]
        try:
            async with asyncio.timeout_at(deadline):
                answer = await session.request(
                    request.method,
                    _url(str(request.url)),
                    data=await request.aread(),
                    headers=[(k.decode(), v.decode()) for k, v in request.headers.raw],
                    allow_redirects=False,
                    timeout=_head_timeout(timeouts["connect"], timeouts["first_byte"]),
                )
        except (aiohttp.ClientError, TimeoutError, ValueError, RuntimeError) as exc:
            failure = _head_failure(exc)
        else:
            return _response(answer, Body(answer, timeouts, deadline))
        # Raised out here, it keeps no reference to aiohttp's own: that one carries our headers.
        raise failure

    async def aclose(self) -> None:
        """Close every connection; the transport is of no use afterwards."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            ttl_dns_cache=DNS_CACHE_SECONDS,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
            headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
        )
        return self._session

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for an address that is about to be connected to: the last place to refuse it.

        Names and literal addresses come through here alike, after DNS has said its last word.
        """
        family, kind, protocol, _name, sockaddr = address
        host = str(sockaddr[0]).split("%", 1)[0]
        if not address_allowed(host, self._allowed):
            raise OSError(errno.EACCES, f"the address {host} is not allowed")
        return socket.socket(family, kind, protocol)


class Body(httpx.AsyncByteStream):
    """The answer's body, one network read at a time.

    One timer per answer, not per read: it looks now and then at how long a read has been waiting.
    Time in which nobody reads does not count as idle.
    """

    def __init__(self, answer: aiohttp.ClientResponse, timeouts: Timeouts, deadline: float) -> None:
        self._answer = answer
        self._content = answer.content
        self._idle = timeouts["idle"]
        self._patience = timeouts["first_byte"]
        self._stage = FIRST_BYTE
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._waiting_since: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._expired: str | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._waiting_since = self._loop.time()
        if self._watch is None and not self._content.is_eof():
            self._schedule(self._waiting_since)
        try:
            data = await self._content.readany()
        except (aiohttp.ClientError, OSError) as exc:
            await self.aclose()
            raise self._failure(exc) from None
        finally:
            self._waiting_since = None
        if not data:
            await self.aclose()
            raise StopAsyncIteration
        if self._stage == FIRST_BYTE:
            self._end_first_byte()
        return data

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else close it. Never waits."""
        self._stop_watch()
        if self._content.at_eof():
            self._answer.release()
        else:
            self._answer.close()

    async def drain(self, seconds: float) -> None:
        """Read what little is left after an answer's own end mark, so that the connection lives."""
        try:
            async with asyncio.timeout(seconds):
                for _ in range(DRAIN_READS):
                    await anext(self)
        except (TimeoutError, StopAsyncIteration, httpx.TransportError):
            pass
        await self.aclose()

    def _schedule(self, now: float) -> None:
        # When nobody waits now, look again soon enough to catch a wait that begins at once.
        since = self._waiting_since
        due = now + self._patience / 4 if since is None else since + self._patience
        self._watch = self._loop.call_at(min(due, self._deadline), self._look)

    def _end_first_byte(self) -> None:
        self._patience, self._stage = self._idle, "idle"
        # The patience may be much shorter from here on: the next read begins a new watch.
        self._stop_watch()

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        now = self._loop.time()
        since = self._waiting_since
        if now >= self._deadline:
            self._expired = "total"
        elif since is not None and now >= since + self._patience:
            self._expired = self._stage
        else:
            self._schedule(now)
            return
        # Wakes the reader, if there is one, with an error that _failure then explains.
        self._answer.close()

    def _failure(self, exc: Exception) -> httpx.TransportError:
        if self._expired is not None:
            return httpx.ReadTimeout(f"{self._expired} timeout")
        return httpx.ReadError(f"the connection was lost: {type(exc).__name__}")


@lru_cache(maxsize=1024)
def _url(text: str) -> URL:
    return URL(text, encoded=True)


@lru_cache(maxsize=1024)
def _head_timeout(connect: float, first_byte: float) -> aiohttp.ClientTimeout:
    # aiohttp would round timeouts of more than 5 s up to whole seconds.
    return aiohttp.ClientTimeout(
        total=None, connect=connect, sock_read=first_byte, ceil_threshold=math.inf
    )


def _response(answer: aiohttp.ClientResponse, body: Body) -> httpx.Response:
    if answer.connection is not None:
        # aiohttp's timer for the head would go on for each read; Body has its own.
        protocol = answer.connection.protocol
        if protocol is not None:
            protocol.read_timeout = None
            protocol.start_timeout()
    headers = answer.headers
    # httpx would raise on a value that is not ASCII.
    kept = [(n, headers[n]) for n in KEPT_HEADERS if n in headers and headers[n].isascii()]
    return httpx.Response(answer.status, headers=kept, stream=body)


def _head_failure(exc: Exception) -> httpx.TransportError:
    """The httpx exception for a failure before the head was read, without the request's headers."""
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout("connect timeout")
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        return Barred(str(exc))
    if isinstance(exc, aiohttp.ClientConnectorError):
        barred = exc.os_error.errno == errno.EACCES
        return (Barred if barred else httpx.ConnectError)(str(exc))
    # ValueError: a host name that cannot be written for DNS, too.
    if isinstance(exc, ValueError | aiohttp.NonHttpUrlClientError):
        return httpx.UnsupportedProtocol("not a URL that can be called")
    if isinstance(exc, aiohttp.SocketTimeoutError):
        return httpx.ReadTimeout("first byte timeout")
    if isinstance(exc, TimeoutError):
        return httpx.ReadTimeout("total timeout")
    if isinstance(exc, aiohttp.ClientResponseError):
        return httpx.RemoteProtocolError("the answer is not HTTP within our bounds")
    return httpx.ReadError(f"the connection was lost: {type(exc).__name__}")
