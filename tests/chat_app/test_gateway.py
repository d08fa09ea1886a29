"""The gateway client: who is tried in which order, what is recorded, and what is left open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.typing import EventDict

from chat_app import gateway
from chat_app.attempts import Attempt
from chat_app.circuits import FAILURES_TO_OPEN, Circuits
from chat_app.errors import AiError, AiTimeout
from chat_app.gateway import AllFailed, GatewayClient, Limits, Opened, Recheck
from chat_app.providers.base import Delta, Provider, ProviderError, UpstreamCall
from chat_app.providers.demo import DemoProvider
from chat_app.routing import Candidate
from chat_app.upstream_minutes import UpstreamMinutes
from tenants_app.snapshots import UpstreamSnapshot
from tests.chat_app.providers import PROMPT, SECONDS, call, openai, until
from tests.chat_app.snapshots import model, route, upstream
from tests.loopback import Loopback
from tests.loopback_plays import failure, good
from tests.loops import run

ACME = 1
QUICK = {"first_byte_timeout_ms": 200, "idle_timeout_ms": 200}


def candidate(name: str, via: UpstreamSnapshot) -> Candidate:
    target = route(name, via)
    return Candidate(model(f"public/{name}", routes=[target]), target, "request")


def client_of(provider: Provider, *, seconds: float = SECONDS, retries: int = 0) -> GatewayClient:
    """A client of the running loop, which asks nobody twice unless told to."""
    circuits = Circuits(asyncio.get_running_loop().time)
    providers = {"openai": provider, "demo": DemoProvider()}
    return GatewayClient(providers, Limits(seconds, retries), circuits, UpstreamMinutes())


def opened(
    candidates: list[Candidate],
    then: Callable[[Opened], Awaitable[Any]] | None = None,
    *,
    recheck: Recheck | None = None,
    **limits: Any,
) -> Opened:
    """What the client makes of these candidates; the answer is closed when `then` is done."""

    async def ask() -> Opened:
        async with openai() as provider:
            client = client_of(provider, **limits)
            result = await client.open(
                candidates, lambda _: call(), tenant_id=ACME, recheck=recheck
            )
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
            found = await client_of(provider).open(
                [candidate("error", up), candidate("any", up)], call_for, tenant_id=ACME
            )
            await found.answer.aclose()

    asyncio.run(ask())
    assert [request.body["max_tokens"] for request in loopback.requests] == [12, 10]


def test_no_candidate_is_begun_after_the_total_time(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url, **QUICK)
    with pytest.raises(AllFailed) as caught:
        opened([candidate("slow-head", up), candidate("any", up)], seconds=0.1)
    assert [attempt.model for attempt in caught.value.attempts] == ["public/slow-head"]
    assert isinstance(caught.value.as_error(), AiTimeout)


def test_no_fallback_after_the_first_byte(loopback: Loopback, logs: list[EventDict]) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)
    client = GatewayClient({}, Limits(SECONDS), Circuits(lambda: 0), UpstreamMinutes())
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


@pytest.mark.parametrize(
    ("play", "tries"),
    [("error", 3), ("overloaded", 3), ("unauthorized", 1), ("rate-limited", 1), ("slow-head", 1)],
)
def test_what_is_safe_is_asked_again_before_the_next_one_is(
    loopback: Loopback, play: str, tries: int
) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url, **QUICK)
    result = opened([candidate(play, up), candidate("any", up)], retries=2)
    assert [attempt.model for attempt in result.attempts] == [f"public/{play}"] * tries + [
        "public/any"
    ]


def test_upstream_that_comes_back_answers_the_second_time(loopback: Loopback) -> None:
    answers = iter([failure(503, "not yet"), good({"stream": True})])
    loopback.plays["recovers"] = lambda _body: next(answers)
    up = upstream("up", kind="openai", base_url=loopback.url)
    result = opened([candidate("recovers", up)], retries=2)
    assert [(a.outcome, a.status) for a in result.attempts] == [("broken", 503), ("ok", 200)]


def test_all_attempts_share_one_deadline(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)
    began = time.monotonic()
    with pytest.raises(AllFailed) as caught:
        opened([candidate("error", up), candidate("slow-head", up)], seconds=0.5, retries=2)
    assert 0.4 < time.monotonic() - began < 2
    # The last one got what the others had left, not its own five seconds.
    *_, last = caught.value.attempts
    assert (last.outcome, last.latency_ms < 500) == ("timeout", True)


def test_fallback_that_may_not_be_used_any_more_is_passed_over(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)
    newest = candidate("newest", up)
    asked: list[str] = []

    async def recheck(fallback: Candidate) -> Candidate | None:
        asked.append(fallback.model.public_id)
        return None if fallback.route.upstream_model == "gone" else newest

    names = ["error", "gone", "any"]
    result = opened([candidate(name, up) for name in names], recheck=recheck)
    assert asked == ["public/gone", "public/any"]
    assert result.candidate is newest
    assert [(a.model, a.outcome) for a in result.attempts] == [
        ("public/error", "broken"),
        ("public/gone", "not_usable"),
        ("public/newest", "ok"),
    ]
    assert [request.body["model"] for request in loopback.requests] == ["error", "newest"]


def test_upstream_that_keeps_failing_is_not_asked_for_a_while(
    loopback: Loopback, logs: list[EventDict]
) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)
    other = upstream("other", id=2, kind="openai", base_url=loopback.url)

    async def ask() -> list[Attempt]:
        async with openai() as provider:
            client = client_of(provider)
            for _ in range(FAILURES_TO_OPEN):
                with pytest.raises(AllFailed):
                    await client.open([candidate("error", up)], lambda _: call(), tenant_id=ACME)
            both = [candidate("error", up), candidate("any", other)]
            found = await client.open(both, lambda _: call(), tenant_id=ACME)
            await found.answer.aclose()
            return found.attempts

    skipped, answered = asyncio.run(ask())
    assert (skipped.upstream, skipped.outcome, skipped.maybe_billed) == (
        "up",
        "circuit_open",
        False,
    )
    assert (answered.upstream, answered.outcome) == ("other", "ok")
    assert len(loopback.requests) == FAILURES_TO_OPEN + 1
    assert len(logs) == FAILURES_TO_OPEN


def test_cancelled_call_is_recorded_and_leaves_the_upstream(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)
    left = loopback.left
    attempts: list[Attempt] = []

    async def ask() -> None:
        async with openai() as provider:
            asked = asyncio.create_task(
                client_of(provider).open(
                    [candidate("error", up), candidate("slow-head", up), candidate("any", up)],
                    lambda _: call(),
                    tenant_id=ACME,
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


@pytest.mark.django_db(transaction=True)
def test_client_is_one_per_event_loop_and_is_closed_with_it(loopback: Loopback) -> None:
    up = upstream("up", kind="openai", base_url=loopback.url)

    async def ask() -> GatewayClient:
        client = gateway.client()
        assert gateway.client() is client
        for name in ("any", "demo-echo"):
            via = up if name == "any" else upstream("demo")
            found = await client.open([candidate(name, via)], lambda _: call(), tenant_id=ACME)
            assert found.attempts[-1].outcome == "ok"
            await found.answer.aclose()
        await gateway.close()
        with pytest.raises(AllFailed):
            await client.open([candidate("any", up)], lambda _: call(), tenant_id=ACME)
        assert gateway.client() is not client
        await gateway.close()
        await gateway.close()
        return client

    assert run(ask()) is not run(ask())
