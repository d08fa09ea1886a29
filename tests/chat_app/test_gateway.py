"""The gateway client: who is tried in which order, what is recorded, and what is left open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.typing import EventDict

from chat_app import gateway
from chat_app.errors import AiError, AiTimeout
from chat_app.gateway import AllFailed, Attempt, GatewayClient, Opened
from chat_app.providers.base import Delta, ProviderError, UpstreamCall
from chat_app.providers.demo import DemoProvider
from chat_app.routing import Candidate
from tenants_app.snapshots import UpstreamSnapshot
from tests.chat_app.providers import PROMPT, SECONDS, call, openai, until
from tests.chat_app.snapshots import model, route, upstream
from tests.loopback import Loopback

QUICK = {"first_byte_timeout_ms": 200, "idle_timeout_ms": 200}


def candidate(name: str, via: UpstreamSnapshot) -> Candidate:
    target = route(name, via)
    return Candidate(model(f"public/{name}", routes=[target]), target, "request")


def opened(
    candidates: list[Candidate],
    then: Callable[[Opened], Awaitable[Any]] | None = None,
    *,
    total_seconds: float = SECONDS,
) -> Opened:
    """What the client makes of these candidates; the answer is closed when `then` is done."""

    async def ask() -> Opened:
        async with openai() as provider:
            client = GatewayClient(
                {"openai": provider, "demo": DemoProvider()}, total_seconds=total_seconds
            )
            result = await client.open(candidates, lambda _: call())
            if then:
                await then(result)
            await result.answer.aclose()
            return result

    return asyncio.run(ask())


def test_first_candidate_that_answers_is_opened(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)
    result = opened([candidate("any", up), candidate("other", up)])
    assert result.candidate.model.public_id == "public/any"
    assert [request.body["model"] for request in loopback.requests] == ["any"]
    [attempt] = result.attempts
    assert attempt == Attempt(
        upstream="up",
        model="public/any",
        outcome="ok",
        status=200,
        latency_ms=attempt.latency_ms,
        reference="req-stream",
        maybe_billed=False,
    )


def test_every_failure_before_the_first_byte_falls_back_and_is_recorded(
    loopback: Loopback, logs: list[EventDict]
) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url, **QUICK)
    down = upstream("down", kind="openai", base_url="http://127.0.0.1:9/v1")
    inside = upstream("inside", kind="openai", base_url="http://169.254.169.254/v1")
    strange = upstream("strange", kind="carrier-pigeon")
    names = ["error", "unauthorized", "rate-limited", "cut-before-answer", "slow-head"]
    result = opened(
        [
            *(candidate(name, up) for name in names),
            candidate("m", down),
            candidate("m", inside),
            candidate("m", strange),
            candidate("any", up),
        ]
    )
    assert [
        (a.upstream, a.model, a.outcome, a.status, a.reference, a.maybe_billed)
        for a in result.attempts
    ] == [
        ("up", "public/error", "broken", 500, None, False),
        ("up", "public/unauthorized", "rejected", 401, None, False),
        ("up", "public/rate-limited", "rate_limited", 429, "req-429", False),
        ("up", "public/cut-before-answer", "broken", None, None, True),
        ("up", "public/slow-head", "timeout", None, None, True),
        ("down", "public/m", "unreachable", None, None, False),
        ("inside", "public/m", "unreachable", None, None, False),
        ("strange", "public/m", "unreachable", None, None, False),
        ("up", "public/any", "ok", 200, "req-stream", False),
    ]
    assert 150 <= result.attempts[4].latency_ms < 1000
    assert [(line["event"], line["outcome"]) for line in logs] == [
        ("upstream_failed", attempt.outcome) for attempt in result.attempts[:-1]
    ]


def test_failed_attempt_is_logged_with_status_and_redacted_excerpt(
    loopback: Loopback, logs: list[EventDict]
) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)
    result = opened([candidate("unauthorized", up), candidate("any", up)])
    assert logs == [
        {
            "log_level": "warning",
            "event": "upstream_failed",
            "upstream": "up",
            "model": "public/unauthorized",
            "outcome": "rejected",
            "status": 401,
            "latencyMs": result.attempts[0].latency_ms,
            "reference": None,
            "maybeBilled": False,
            "excerpt": "some_code some_error Incorrect API key provided: [key]",
        }
    ]
    assert result.attempts[0].as_json() == {
        name: value
        for name, value in logs[0].items()
        if name not in {"log_level", "event", "excerpt"}
    }


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["error"], AiError),
        (["unauthorized", "error"], AiError),
        (["slow-head", "error"], AiError),
        (["error", "slow-head"], AiTimeout),
    ],
)
def test_when_all_fail_the_last_one_says_what_the_client_is_told(
    loopback: Loopback, names: list[str], error: type[Exception]
) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url, **QUICK)
    with pytest.raises(AllFailed) as caught:
        opened([candidate(name, up) for name in names])
    assert [attempt.model for attempt in caught.value.attempts] == [f"public/{n}" for n in names]
    told = caught.value.as_error()
    assert type(told) is error
    assert told.details == {}
    assert PROMPT not in str(caught.value)


def test_each_candidate_is_asked_with_its_own_call(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)

    def call_for(tried: Candidate) -> UpstreamCall:
        return call(max_tokens=len(tried.model.public_id))

    async def ask() -> None:
        async with openai() as provider:
            client = GatewayClient({"openai": provider}, total_seconds=SECONDS)
            found = await client.open([candidate("error", up), candidate("any", up)], call_for)
            await found.answer.aclose()

    asyncio.run(ask())
    assert [request.body["max_tokens"] for request in loopback.requests] == [12, 10]


def test_no_candidate_is_begun_after_the_total_time(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url, **QUICK)
    with pytest.raises(AllFailed) as caught:
        opened([candidate("slow-head", up), candidate("any", up)], total_seconds=0.1)
    assert [attempt.model for attempt in caught.value.attempts] == ["public/slow-head"]
    assert isinstance(caught.value.as_error(), AiTimeout)


def test_no_fallback_after_the_first_byte(loopback: Loopback, logs: list[EventDict]) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)
    client = GatewayClient({}, total_seconds=SECONDS)
    text: list[str] = []

    async def relay(found: Opened) -> None:
        try:
            async for events in found.answer:
                text.extend(event.text for event in events if isinstance(event, Delta))
        except ProviderError as exc:
            client.note_break(found, exc)

    result = opened([candidate("cut", up), candidate("any", up)], relay)
    assert "".join(text) == "Hello from the"
    assert len(loopback.requests) == 1
    assert [(a.outcome, a.status, a.maybe_billed) for a in result.attempts] == [
        ("broken", 200, True)
    ]
    assert [line["excerpt"] for line in logs] == ["the connection was lost: ClientPayloadError"]


def test_cancelled_call_is_recorded_and_leaves_the_upstream(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)
    left = loopback.left
    attempts: list[Attempt] = []

    async def ask() -> None:
        async with openai() as provider:
            client = GatewayClient({"openai": provider}, total_seconds=SECONDS)
            asked = asyncio.create_task(
                client.open(
                    [candidate("error", up), candidate("slow-head", up), candidate("any", up)],
                    lambda _: call(),
                    attempts=attempts,
                )
            )
            assert await until(lambda: len(loopback.requests) == 2)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert await until(lambda: loopback.left == left + 1)

    asyncio.run(ask())
    assert [(a.model, a.outcome, a.maybe_billed) for a in attempts] == [
        ("public/error", "broken", False),
        ("public/slow-head", "cancelled", True),
    ]


def test_client_is_one_per_event_loop_and_is_closed_with_it(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)

    async def ask() -> GatewayClient:
        client = gateway.client()
        assert gateway.client() is client
        for name in ("any", "demo-echo"):
            via = up if name == "any" else upstream("demo")
            found = await client.open([candidate(name, via)], lambda _: call())
            assert found.attempts[-1].outcome == "ok"
            await found.answer.aclose()
        await gateway.close()
        with pytest.raises(AllFailed):
            await client.open([candidate("any", up)], lambda _: call())
        assert gateway.client() is not client
        await gateway.close()
        await gateway.close()
        return client

    assert asyncio.run(ask()) is not asyncio.run(ask())
