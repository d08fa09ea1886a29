"""What every provider's exchange promises: the call's one deadline, and what may be asked again."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from chat_app.providers.base import UpstreamTimeout, UpstreamUnreachable
from tests.chat_app.providers import Heard, call, hear, openai, via
from tests.chat_app.snapshots import route, upstream
from tests.loopback import Loopback
from tests.loopback_plays import Play, failure, plain

SHORT: dict[str, Any] = {"first_byte_timeout_ms": 200, "idle_timeout_ms": 200}


def heard(loopback: Loopback, model: str, *, seconds: float = 900, **timeouts: Any) -> Heard:
    async def ask() -> Heard:
        async with openai() as provider:
            return await hear(provider, via(loopback, model, **timeouts), call(), seconds=seconds)

    return asyncio.run(ask())


def heard_at(base_url: str) -> Heard:
    async def ask() -> Heard:
        async with openai(allowed=()) as provider:
            return await hear(
                provider, route("m", upstream(kind="openai", base_url=base_url)), call()
            )

    return asyncio.run(ask())


@pytest.mark.parametrize("model", ["slow-head", "slow-first-event", "drip"])
def test_what_the_call_has_left_bounds_the_whole_exchange(loopback: Loopback, model: str) -> None:
    started = time.monotonic()
    got = heard(loopback, model, seconds=0.3)
    assert isinstance(got.error, UpstreamTimeout)
    assert time.monotonic() - started < 2


RETRYABLE = (409, 425, 429, 500, 502, 503, 520, 521, 522, 529)
FINAL = (302, 400, 401, 404, 408, 501, 504, 524)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [*((status, True) for status in RETRYABLE), *((status, False) for status in FINAL)],
)
def test_status_says_what_may_be_asked_again(
    loopback: Loopback, status: int, retryable: bool
) -> None:
    loopback.plays |= {
        "it": failure(status, "no"),
        "yes": failure(status, "no", x_should_retry="true"),
        "no": failure(status, "no", x_should_retry="false"),
        "odd": failure(status, "no", x_should_retry="perhaps"),
    }
    told = {}
    for name in ("it", "yes", "no", "odd"):
        error = heard(loopback, name).error
        assert error
        told[name] = (error.status, error.retryable)
    assert told == {
        "it": (status, retryable),
        "yes": (status, True),
        "no": (status, False),
        "odd": (status, retryable),
    }


@pytest.mark.parametrize(
    "error",
    [
        {"code": "insufficient_quota", "type": "insufficient_quota"},
        {"code": None, "type": "insufficient_quota"},
        {"code": "billing_hard_limit_reached"},
        {"code": "billing_not_active"},
    ],
    ids=str,
)
def test_used_up_quota_is_not_asked_again_whatever_the_header(
    loopback: Loopback, error: dict[str, Any]
) -> None:
    body = b'{"error":%b}' % str(error).replace("'", '"').replace("None", "null").encode()
    loopback.plays["spent"] = plain(body, 429, x_should_retry="true")
    got = heard(loopback, "spent").error
    assert got
    assert (got.outcome, got.retryable) == ("rate_limited", False)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error":[1]}', b'{"error":{"code":[1]}}', b"\xff"])
def test_refusal_in_no_known_shape_is_judged_by_its_status(loopback: Loopback, body: bytes) -> None:
    loopback.plays["odd"] = plain(body, 429)
    got = heard(loopback, "odd").error
    assert got
    assert (got.outcome, got.retryable) == ("rate_limited", True)


@pytest.mark.parametrize(
    "model",
    [
        "cut-before-answer",
        "cut",
        "cut-json",
        "error-first",
        "error-in-200",
        "error-in-stream",
        "gzip",
        "not-http",
        "not-json",
        "slow-head",
        "stall",
    ],
)
def test_what_was_sent_and_lost_is_not_asked_again(loopback: Loopback, model: str) -> None:
    error = heard(loopback, model, **SHORT).error
    assert error
    assert (error.sent, error.retryable) == (True, False)


@pytest.mark.parametrize(
    ("url", "retryable"),
    [
        ("http://x.invalid/v1", True),
        ("http://127.0.0.1:1/v1", False),  # the address is not allowed here
        ("ftp://models.example/v1", False),
        ("nonsense", False),
    ],
)
def test_unreachable_may_be_asked_again_unless_it_is_by_rule(url: str, retryable: bool) -> None:
    error = heard_at(url).error
    assert isinstance(error, UpstreamUnreachable)
    assert error.retryable is retryable


def test_refused_connection_may_be_asked_again(loopback: Loopback) -> None:
    async def ask() -> Heard:
        async with openai() as provider:
            closed = route("m", upstream(kind="openai", base_url="http://127.0.0.1:1/v1"))
            return await hear(provider, closed, call())

    error = asyncio.run(ask()).error
    assert isinstance(error, UpstreamUnreachable)
    assert error.retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "999999999"}, 86_400),
        ({"Retry-After-Ms": "250", "Retry-After": "7"}, 0.25),
        ({"Retry-After-Ms": "soon", "Retry-After": "7"}, 7),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_seconds_and_bounded(
    loopback: Loopback, headers: dict[str, str], seconds: float | None, status: int
) -> None:
    head = (("content-type", "application/json"), *headers.items())
    loopback.plays["busy"] = Play([b"{}"], status, head, framing="length")
    error = heard(loopback, "busy").error
    assert error
    assert error.retry_after == seconds


def test_openai_upstreams_have_no_notes(loopback: Loopback) -> None:
    loopback.plays["noted"] = plain(b'{"choices":[{"message":{"content":"x"}}]}', cf_aig_step="1")
    got = heard(loopback, "noted")
    assert got.answer
    assert got.answer.notes == {}
