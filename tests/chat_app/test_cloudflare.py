"""The cloudflare provider against a real socket, in all three forms: what comes of each answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from chat_app.providers.base import (
    Delta,
    Event,
    Finished,
    ProviderError,
    UpstreamBroken,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UsageReport,
)
from chat_app.schema import Message
from tenants_app.snapshots import RouteSnapshot
from tests.chat_app.providers import PROMPT, Heard, call, cloudflare, gateway_via, hear, with_token
from tests.loopback import Loopback
from tests.loopback_cloudflare import STREAMS, WHOLES, told
from tests.loopback_plays import TEXT, WORDS, Play, plain
from usage_app.pricing import UsageFigures

FORMS = ["rest", "compat", "workers-ai"]
USAGE = UsageReport(UsageFigures(input=10, output=6))
SHORT: dict[str, Any] = {"first_byte_timeout_ms": 200, "idle_timeout_ms": 200}
TOKEN = "cf-token-of-acme"


def heard_by(target: RouteSnapshot, **changes: Any) -> Heard:
    async def ask() -> Heard:
        async with cloudflare() as provider:
            return await hear(provider, target, call(**changes))

    return asyncio.run(ask())


def heard(
    loopback: Loopback, model: str, form: str = "rest", *, stream: bool = True, **fields: Any
) -> Heard:
    return heard_by(gateway_via(loopback, model, form, **fields), stream=stream)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


# Good answers


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", [*STREAMS, "cf-split", "cf-good", "cf-flat"])
def test_stream_in_any_shape_gives_the_same_answer(
    loopback: Loopback, model: str, form: str
) -> None:
    got = heard(loopback, model, form)
    assert (got.error, text_of(got.events), got.of(UsageReport)[-1]) == (None, TEXT, USAGE)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", [*WHOLES, "cf-good"])
def test_whole_answer_in_any_shape_is_one_batch(loopback: Loopback, model: str, form: str) -> None:
    got = heard(loopback, model, form, stream=False)
    assert got.error is None
    assert [event for event in got.events if not isinstance(event, Finished)] == [
        Delta(TEXT),
        USAGE,
    ]


def test_whole_answer_where_a_stream_was_asked_for_is_read(loopback: Loopback) -> None:
    loopback.plays["cf-whole"] = told(plain(WHOLES["cf-native"]))
    got = heard(loopback, "cf-whole")
    assert (got.error, got.events) == (None, [Delta(TEXT), USAGE])


def test_openai_streams_of_other_providers_are_read_as_ever(loopback: Loopback) -> None:
    for model in ("any", "crlf", "usage-on-each", "no-done", "bom", "set-cookie"):
        got = heard(loopback, model)
        assert (got.error, text_of(got.events), got.of(UsageReport)[-1]) == (None, TEXT, USAGE)


# What the gateway says of an attempt


@pytest.mark.parametrize("stream", [True, False])
def test_log_id_cache_status_and_step_are_kept(loopback: Loopback, stream: bool) -> None:
    got = heard(loopback, "cf-good", stream=stream)
    assert got.answer
    assert (got.answer.reference, dict(got.answer.notes)) == (
        "log-1",
        {"cacheStatus": "MISS", "step": "0"},
    )


@pytest.mark.parametrize("model", ["cf-used-up", "cf-error-in-200", "cf-error-first"])
def test_refusal_keeps_them_too(loopback: Loopback, model: str) -> None:
    error = heard(loopback, model).error
    assert error
    assert (error.reference, dict(error.notes)) == ("log-1", {"cacheStatus": "MISS", "step": "0"})


@pytest.mark.parametrize(
    ("headers", "notes"),
    [
        ({"cf-aig-cache-status": "HIT"}, {"cacheStatus": "HIT"}),
        ({"cf-aig-step": "12"}, {"step": "12"}),
        (
            {"cf-aig-model": "@cf/meta/llama", "cf-aig-provider": "workers-ai"},
            {"gatewayModel": "@cf/meta/llama", "gatewayProvider": "workers-ai"},
        ),
        ({"cf-aig-cache-status": "H" * 21}, {}),
        ({"cf-aig-cache-status": "HIT; x=1"}, {}),
        ({"cf-aig-step": "-1", "cf-aig-model": "<script>", "cf-aig-provider": "a b"}, {}),
        ({"cf-aig-model": "m" * 101, "cf-aig-provider": "größe"}, {}),
        ({"x-other": "1"}, {}),
    ],
    ids=str,
)
def test_notes_are_bounded_and_of_these_four_headers_only(
    loopback: Loopback, headers: dict[str, str], notes: dict[str, str]
) -> None:
    play = plain(WHOLES["cf-native"])
    loopback.plays["noted"] = Play(play.body, 200, (*play.headers, *headers.items()), "length")
    got = heard(loopback, "noted", stream=False)
    assert got.answer
    assert dict(got.answer.notes) == notes


# Failures


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("model", "kind", "status", "retryable", "retry_after", "maybe_billed"),
    [
        ("cf-used-up", UpstreamRateLimited, 429, False, 7, False),
        ("cf-out-of-capacity", UpstreamRateLimited, 429, True, 2, False),
        ("cf-timeout", UpstreamTimeout, 408, False, None, True),
        ("cf-no-model", UpstreamRejected, 400, False, None, False),
        ("cf-no-gateway", UpstreamRejected, 400, False, None, False),
        ("cf-error-in-200", UpstreamRejected, 400, False, None, False),
        ("cf-error-first", UpstreamRateLimited, 429, True, None, False),
        ("error", UpstreamBroken, 500, True, None, False),
        ("overloaded", UpstreamBroken, 502, True, None, True),
        ("unauthorized", UpstreamRejected, 401, False, None, False),
        ("redirect", UpstreamRejected, 302, False, None, False),
        ("cut-before-answer", UpstreamBroken, None, False, None, True),
        ("not-json", UpstreamBroken, 200, False, None, True),
        ("gzip", UpstreamBroken, 200, False, None, True),
        ("huge-header", UpstreamBroken, None, False, None, True),
        ("huge-line", UpstreamBroken, 200, False, None, True),
        ("slow-head", UpstreamTimeout, None, False, None, True),
        ("empty", UpstreamBroken, 200, False, None, True),
    ],
)
def test_failure_is_told_exactly(
    loopback: Loopback,
    model: str,
    kind: type[ProviderError],
    status: int | None,
    retryable: bool,
    retry_after: float | None,
    maybe_billed: bool,
    form: str,
) -> None:
    error = heard(loopback, model, form, **SHORT).error
    assert type(error) is kind
    assert (error.status, error.retryable, error.retry_after, error.maybe_billed) == (
        status,
        retryable,
        retry_after,
        maybe_billed,
    )


@pytest.mark.parametrize(
    ("model", "excerpt"),
    [
        ("cf-cut", "the connection was lost"),
        ("cf-error-in-stream", "3040 AiError: 3040: Capacity temporarily exceeded"),
    ],
)
def test_stream_that_fails_midway_gives_what_came_before(
    loopback: Loopback, model: str, excerpt: str
) -> None:
    got = heard(loopback, model)
    assert (got.opened, text_of(got.events)) == (True, "".join(WORDS[:3]))
    assert type(got.error) is UpstreamBroken
    assert excerpt in got.error.excerpt
    assert (got.error.status, got.error.retryable, got.error.maybe_billed) == (200, False, True)


def test_success_false_without_a_known_code_may_have_been_billed(loopback: Loopback) -> None:
    loopback.plays["no"] = plain(b'{"success":false,"errors":[{"code":9999,"message":"odd"}]}')
    error = heard(loopback, "no", stream=False).error
    assert type(error) is UpstreamBroken
    assert (error.excerpt, error.status, error.retryable, error.maybe_billed) == (
        "9999 odd",
        200,
        False,
        True,
    )


def test_queued_answer_is_no_answer(loopback: Loopback) -> None:
    queued = {"result": {"status": "queued", "request_id": "r"}, "success": True}
    loopback.plays["later"] = plain(json.dumps(queued).encode())
    error = heard(loopback, "later", stream=False).error
    assert type(error) is UpstreamBroken


@pytest.mark.parametrize("form", FORMS)
def test_echo_of_token_and_prompt_is_not_kept(loopback: Loopback, form: str) -> None:
    message = f"Bearer {TOKEN} is wrong ({TOKEN}): you asked {PROMPT}"
    body = {"success": False, "errors": [{"code": 10000, "message": message}]}
    for answer in (body, {"success": False, "message": message}):
        loopback.plays["echo"] = plain(json.dumps(answer).encode(), 401)
        error = heard_by(with_token(gateway_via(loopback, "echo", form), TOKEN)).error
        assert error
        assert error.excerpt
        assert TOKEN not in error.excerpt
        assert PROMPT[:20] not in error.excerpt


def test_long_conversations_go_whole(loopback: Loopback) -> None:
    messages = (Message("system", "Be brief."), Message("user", "größe"))
    got = heard_by(gateway_via(loopback, "cf-good", "workers-ai"), messages=messages)
    assert got.error is None
    assert loopback.last.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "größe"},
    ]
