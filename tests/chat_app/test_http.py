"""The wire: addresses refused, timeouts kept, little kept of an answer, nothing left lingering."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

import aiohttp
import httpx
import pytest

from chat_app.providers.base import Delta, UpstreamTimeout, UpstreamUnreachable
from chat_app.providers.http import Timeouts, Transport
from tenants_app.networks import parse_networks
from tests.chat_app.providers import LOOPBACK, SECONDS, Heard, call, hear, openai, until, via
from tests.chat_app.snapshots import route, upstream
from tests.loopback import Loopback
from tests.loopback_plays import (
    DONE,
    STOP,
    TEXT,
    WORDS,
    Play,
    chunk,
    completion,
    data,
    plain,
    stream,
)

TIMEOUTS = Timeouts(connect=2, first_byte=2, idle=2, total=5)
SECRET = "sk-very-secret-token"


def heard_at(base_url: str, *, allowed: Any = LOOPBACK, **timeouts: Any) -> Heard:
    async def ask() -> Heard:
        async with openai(allowed=allowed) as provider:
            target = route("any", upstream(kind="openai", base_url=base_url, **timeouts))
            return await hear(provider, target, call())

    return asyncio.run(ask())


async def post(transport: Transport, url: str, model: str = "any") -> httpx.Response:
    return await transport.handle_async_request(
        httpx.Request(
            "POST",
            f"{url}/chat/completions",
            headers={"authorization": f"Bearer {SECRET}"},
            stream=httpx.ByteStream(b'{"model":"%s"}' % model.encode()),
            extensions={"timeout": TIMEOUTS},
        )
    )


async def read(response: httpx.Response) -> bytes:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return b"".join([part async for part in response.stream])


# Addresses


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
def test_internal_address_is_refused_however_it_is_spelled(loopback: Loopback, host: str) -> None:
    got = heard_at(f"http://{host}:{loopback.port}/v1", allowed=())
    assert isinstance(got.error, UpstreamUnreachable)
    # aiohttp itself takes no address in the old spellings.
    old = host in {"127.1", "2130706433"}
    assert ("not a URL that can be called" if old else "is not allowed") in got.error.excerpt
    assert (got.error.sent, loopback.requests) == (False, [])


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "[fe80::1]", "[fd00::1]"])
def test_metadata_and_private_addresses_are_refused_without_a_packet(host: str) -> None:
    started = time.monotonic()
    got = heard_at(f"http://{host}/v1")
    assert isinstance(got.error, UpstreamUnreachable)
    assert "is not allowed" in got.error.excerpt
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_allowed_network_is_reached(loopback: Loopback, host: str) -> None:
    assert heard_at(f"http://{host}:{loopback.port}/v1").error is None


def test_name_that_turns_inward_after_it_was_saved_is_refused(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name resolves, at connect, to an address that is not allowed."""

    async def resolve(*_: object, **__: object) -> list[dict[str, Any]]:
        return [
            {
                "hostname": "models.example",
                "host": "127.0.0.1",
                "port": loopback.port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", resolve)
    url = f"http://models.example:{loopback.port}/v1"
    assert heard_at(url).error is None
    got = heard_at(url, allowed=parse_networks(["10.0.0.0/8"]))
    assert isinstance(got.error, UpstreamUnreachable)
    assert len(loopback.requests) == 1


# Not sent, or sent


def test_refused_connection_is_known_not_to_be_sent() -> None:
    got = heard_at(f"http://127.0.0.1:{closed_port()}/v1")
    assert isinstance(got.error, UpstreamUnreachable)
    assert (got.error.sent, got.error.maybe_billed, got.error.status) == (False, False, None)


def test_name_that_does_not_resolve_is_known_not_to_be_sent() -> None:
    got = heard_at("http://nowhere.invalid/v1")
    assert isinstance(got.error, UpstreamUnreachable)
    assert not got.error.maybe_billed


def test_server_without_tls_is_known_not_to_be_sent(loopback: Loopback) -> None:
    got = heard_at(f"https://127.0.0.1:{loopback.port}/v1", connect_timeout_ms=500)
    assert isinstance(got.error, UpstreamUnreachable)
    assert loopback.requests == []


def test_connect_timeout_is_known_not_to_be_sent() -> None:
    # A socket that listens with a full queue answers no further SYN.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            started = time.monotonic()
            got = heard_at(f"http://127.0.0.1:{address[1]}/v1", connect_timeout_ms=200)
            took = time.monotonic() - started
        finally:
            for filler in fillers:
                filler.close()
    assert isinstance(got.error, UpstreamUnreachable)
    assert got.error.excerpt == "connect timeout"
    assert 0.1 < took < 1.5


def test_first_byte_timeout_may_have_been_sent(loopback: Loopback) -> None:
    async def ask() -> Heard:
        async with openai() as provider:
            slow = via(loopback, "slow-head", first_byte_timeout_ms=200)
            return await hear(provider, slow, call())

    started = time.monotonic()
    error = asyncio.run(ask()).error
    assert isinstance(error, UpstreamTimeout)
    assert error.maybe_billed
    assert 0.15 < time.monotonic() - started < 1


def test_first_byte_timeout_does_not_go_on_after_the_head(loopback: Loopback) -> None:
    loopback.plays["late"] = Play([0.4, completion()], 200, (("a", "b"),), "length")

    async def ask() -> Heard:
        async with openai() as provider:
            target = via(loopback, "late", first_byte_timeout_ms=300, idle_timeout_ms=5000)
            return await hear(provider, target, call(stream=False))

    # The wait for the first read of the body has the same patience, counted anew.
    loopback.plays["two"] = Play(
        [b'{"choices":', 0.4, b"[]}"], 200, (("content-type", "application/json"),), "length"
    )

    async def ask_two() -> Heard:
        async with openai() as provider:
            target = via(loopback, "two", first_byte_timeout_ms=300, idle_timeout_ms=5000)
            return await hear(provider, target, call(stream=False))

    assert isinstance(asyncio.run(ask()).error, UpstreamTimeout)
    error = asyncio.run(ask_two()).error
    assert error
    assert error.excerpt == "the answer has no choices"


def test_time_in_which_nobody_reads_is_not_idle(loopback: Loopback) -> None:
    async def ask() -> int:
        async with openai() as provider:
            target = via(loopback, "paced-100-5", idle_timeout_ms=100, first_byte_timeout_ms=100)
            answer = await provider.open(target, call(), seconds=SECONDS)
            reads: list[int] = []
            async for events in answer:
                reads.append(len(events))
                if len(reads) in {1, 3}:
                    await asyncio.sleep(0.3)
            return sum(reads)

    assert asyncio.run(ask()) == 102


# What is kept, what is not


def test_only_listed_headers_of_an_answer_are_kept(loopback: Loopback) -> None:
    loopback.plays["chatty"] = plain(
        completion(), X_Request_Id="r", CF_Aig_Log_Id="l", Set_Cookie="a=b", Server="s", X_Evil="1"
    )

    async def ask() -> list[tuple[str, str]]:
        transport = Transport(allowed=LOOPBACK)
        response = await post(transport, loopback.url, "chatty")
        await read(response)
        await transport.aclose()
        return sorted(response.headers.items())

    assert asyncio.run(ask()) == [
        ("cf-aig-log-id", "l"),
        ("content-type", "application/json"),
        ("x-request-id", "r"),
    ]


def test_cookie_of_one_answer_is_not_sent_with_the_next_request(loopback: Loopback) -> None:
    async def ask() -> None:
        async with openai() as provider:
            for _ in range(2):
                await hear(provider, via(loopback, "set-cookie"), call(stream=False))

    asyncio.run(ask())
    assert [request.headers.get("cookie") for request in loopback.requests] == [None, None]


def test_redirect_is_not_followed(loopback: Loopback) -> None:
    loopback.plays["there"] = plain(b"{}", 307, Location=f"{loopback.url}/elsewhere")

    async def ask() -> Heard:
        async with openai() as provider:
            return await hear(provider, via(loopback, "there"), call())

    error = asyncio.run(ask()).error
    assert error
    assert (error.status, len(loopback.requests)) == (307, 1)


def test_proxy_of_the_environment_is_not_used(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert heard_at(loopback.url).error is None


@pytest.mark.parametrize("model", ["not-http", "cut-before-answer", "huge-header", "cut-json"])
def test_no_exception_carries_the_request(loopback: Loopback, model: str) -> None:
    """aiohttp's own exceptions hold the headers that were sent, the key among them."""

    async def ask() -> BaseException | None:
        transport = Transport(allowed=LOOPBACK)
        try:
            await read(await post(transport, loopback.url, model))
        except httpx.TransportError as exc:
            return exc
        finally:
            await transport.aclose()
        return None

    exc = asyncio.run(ask())
    assert exc is not None
    chain = []
    while exc is not None:
        chain.append(exc)
        exc = exc.__cause__ or exc.__context__
    assert not [link for link in chain if SECRET in repr(vars(link)) or SECRET in repr(link)]


# Connections


@pytest.mark.parametrize(
    ("model", "streamed", "kept"),
    [
        ("any", True, True),
        ("any", False, True),
        ("no-done", True, True),
        ("late-end", True, True),
        ("unauthorized", True, True),
        ("stall", True, False),
        ("huge-body", False, False),
        ("no-done-close", True, False),
    ],
)
def test_connection_is_used_again_only_after_an_answer_read_to_its_end(
    loopback: Loopback, model: str, streamed: bool, kept: bool
) -> None:
    async def ask() -> None:
        async with openai() as provider:
            target = via(loopback, model, idle_timeout_ms=200)
            await hear(provider, target, call(stream=streamed))
            await hear(provider, via(loopback, "any"), call())

    asyncio.run(ask())
    first, second = (request.connection for request in loopback.requests)
    assert (first == second) is kept


@pytest.mark.parametrize("model", ["slow-head", "slow-first-event", "slow-json", "stall"])
def test_cancelled_call_closes_its_connection_at_once(loopback: Loopback, model: str) -> None:
    left = loopback.left

    async def ask() -> None:
        async with openai() as provider:
            asked = asyncio.create_task(hear(provider, via(loopback, model), call()))
            assert await until(lambda: bool(loopback.requests))
            await asyncio.sleep(0.05)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert await until(lambda: loopback.left == left + 1)

    asyncio.run(ask())


def test_cancelled_read_loses_nothing(loopback: Loopback) -> None:
    loopback.plays["pauses"] = stream(
        *(step for word in WORDS for step in (data(chunk({"content": word})), 0.03)), STOP, DONE
    )

    async def ask() -> str:
        async with openai() as provider:
            answer = await provider.open(via(loopback, "pauses"), call(), seconds=SECONDS)
            text = ""
            while "." not in text:
                with contextlib.suppress(TimeoutError):
                    for event in await asyncio.wait_for(anext(answer), 0.01):
                        text += event.text if isinstance(event, Delta) else ""
            await answer.aclose()
            return text

    assert asyncio.run(ask()) == TEXT


def test_closed_answer_closes_its_connection_and_ends(loopback: Loopback) -> None:
    left = loopback.left

    async def ask() -> None:
        async with openai() as provider:
            answer = await provider.open(via(loopback, "stall"), call(), seconds=SECONDS)
            await anext(answer)
            await answer.aclose()
            await answer.aclose()
            assert [events async for events in answer] == []
            assert await until(lambda: loopback.left == left + 1)

    asyncio.run(ask())


def test_close_from_another_task_ends_a_read_under_way(loopback: Loopback) -> None:
    async def ask() -> None:
        async with openai() as provider:
            answer = await provider.open(via(loopback, "stall"), call(), seconds=SECONDS)

            async def drain() -> int:
                return len([events async for events in answer])

            reading = asyncio.create_task(drain())
            await asyncio.sleep(0.1)
            await answer.aclose()
            await asyncio.wait_for(reading, 1)

    asyncio.run(ask())


def test_closed_transport_refuses(loopback: Loopback) -> None:
    async def ask() -> Heard:
        async with openai() as provider:
            await hear(provider, via(loopback, "any"), call())
        return await hear(provider, via(loopback, "any"), call())

    error = asyncio.run(ask()).error
    assert isinstance(error, UpstreamUnreachable)
    assert error.excerpt == "the transport is closed"


def test_many_calls_at_once_share_nothing(loopback: Loopback) -> None:
    async def ask() -> list[Heard]:
        async with openai() as provider:
            return await asyncio.gather(
                *(hear(provider, via(loopback, f"any-{n}"), call()) for n in range(100))
            )

    assert all(got.error is None for got in asyncio.run(ask()))
    assert sorted(request.body["model"] for request in loopback.requests) == sorted(
        f"any-{n}" for n in range(100)
    )
