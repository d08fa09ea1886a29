"""The openai provider against a real socket: every shape of answer, every failure, what is sent."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from structlog.typing import EventDict

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
from tests.chat_app.providers import Heard, call, hear, openai, via
from tests.loopback import Loopback
from tests.loopback_plays import (
    DONE,
    ROLE,
    STOP,
    TEXT,
    WORDS,
    chunk,
    completion,
    data,
    growing_usage,
    plain,
    stream,
)
from usage_app.pricing import UsageFigures

USAGE = UsageReport(UsageFigures(input=10, output=6))
STOPPED = Finished("stop")
SHORT: dict[str, Any] = {
    "first_byte_timeout_ms": 200,
    "idle_timeout_ms": 200,
    "total_timeout_ms": 5_000,
}


def heard(loopback: Loopback, model: str, *, streamed: bool = True, **timeouts: Any) -> Heard:
    async def ask() -> Heard:
        async with openai() as provider:
            return await hear(provider, via(loopback, model, **timeouts), call(stream=streamed))

    return asyncio.run(ask())


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def rest_of(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Delta)]


# Good answers


@pytest.mark.parametrize(
    ("model", "rest"),
    [
        ("any", [STOPPED, USAGE]),
        ("crlf", [STOPPED, USAGE]),
        ("split", [STOPPED, USAGE]),
        ("one-write", [STOPPED, USAGE]),
        ("comments", [STOPPED, USAGE]),
        ("bom", [STOPPED, USAGE]),
        ("no-done", [STOPPED, USAGE]),
        ("no-done-close", [STOPPED, USAGE]),
        ("no-last-newline", [STOPPED, USAGE]),
        ("after-done", [STOPPED, USAGE]),
        ("two-reasons", [STOPPED, USAGE]),
        ("zero-usage-last", [STOPPED, USAGE]),
        ("null-content", [STOPPED, USAGE]),
        ("reasoning", [STOPPED, USAGE]),
        ("json-for-a-stream", [STOPPED, USAGE]),
        ("no-usage", [STOPPED]),
        ("cut-after-finish", [STOPPED]),
        ("no-finish-reason", []),
    ],
)
def test_stream_in_any_clothes_gives_the_same_answer(
    loopback: Loopback, model: str, rest: list[Event]
) -> None:
    got = heard(loopback, model)
    assert (got.error, text_of(got.events), rest_of(got.events)) == (None, TEXT, rest)


def test_stream_comes_word_by_word(loopback: Loopback) -> None:
    loopback.plays["words"] = stream(
        *[step for word in WORDS for step in (data(chunk({"content": word})), 0.02)], STOP, DONE
    )
    got = heard(loopback, "words")
    assert [event.text for event in got.events if isinstance(event, Delta)] == list(WORDS)


def test_plain_answer_is_one_batch(loopback: Loopback) -> None:
    got = heard(loopback, "any", streamed=False)
    assert (got.error, got.events) == (None, [Delta(TEXT), STOPPED, USAGE])
    assert got.answer
    assert (got.answer.status, got.answer.reference) == (200, "req-plain")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}], "Hello"),
        ([{"type": "image_url"}, "loose", {"type": "text", "text": 5}], ""),
        ("a\x00b", "a\ufffdb"),
        (None, ""),
        (17, ""),
    ],
)
def test_content_may_be_parts_and_is_cleaned(
    loopback: Loopback, content: object, text: str
) -> None:
    loopback.plays["parts"] = plain(completion(content))
    assert text_of(heard(loopback, "parts", streamed=False).events) == text
    loopback.plays["parts"] = stream(data(chunk({"content": content})), STOP, DONE)
    assert text_of(heard(loopback, "parts").events) == text


def test_refusal_of_the_model_is_shown(loopback: Loopback) -> None:
    loopback.plays["no"] = stream(data(chunk({"refusal": "I cannot."})), STOP, DONE)
    assert text_of(heard(loopback, "no").events) == "I cannot."


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'"a\xffb"', "a\ufffdb"),
        (rb'"a\ud83db"', "a?b"),
        (rb'"\ud83c\udf88"', "🎈"),
        ('"größe"'.encode(), "größe"),
    ],
)
def test_broken_text_is_replaced(loopback: Loopback, raw: bytes, text: str) -> None:
    loopback.plays["odd"] = stream(
        b'data: {"choices":[{"delta":{"content":%b}}]}\n\n' % raw, STOP, DONE
    )
    assert text_of(heard(loopback, "odd").events) == text


# Usage


def reported(loopback: Loopback, *usages: Any) -> list[Event]:
    """The last usage that a stream with these usages gives, as a list of none or one."""
    chunks = [data({"choices": [], "usage": usage}) for usage in usages]
    loopback.plays["usage"] = stream(ROLE, STOP, *chunks, DONE)
    streamed = rest_of(heard(loopback, "usage").events)[1:][-1:]
    loopback.plays["usage"] = plain(completion(usage=usages[-1]))
    whole = rest_of(heard(loopback, "usage", streamed=False).events)[1:]
    if len(usages) == 1:
        assert streamed == whole
    return streamed


def usage(**changes: Any) -> dict[str, Any]:
    return {"prompt_tokens": 10, "completion_tokens": 6, **changes}


def test_usage_is_read_in_full(loopback: Loopback) -> None:
    details = {
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    assert reported(loopback, usage(**details)) == [UsageReport(UsageFigures(10, 4, 2, 6, 5))]


def test_cumulative_usage_is_assigned_and_never_added(loopback: Loopback) -> None:
    got = heard(loopback, "usage-on-each")
    assert (text_of(got.events), got.of(UsageReport)[-1]) == (TEXT, USAGE)


def test_last_usage_that_is_not_zero_wins(loopback: Loopback) -> None:
    zero = usage(prompt_tokens=0, completion_tokens=0)
    more = usage(completion_tokens=9)
    assert reported(loopback, zero, usage(), more, zero, None) == [
        UsageReport(UsageFigures(input=10, output=9))
    ]


@pytest.mark.parametrize(
    "bad",
    [
        usage(prompt_tokens=-1),
        usage(completion_tokens=-6),
        usage(prompt_tokens=True),
        usage(prompt_tokens="10"),
        usage(completion_tokens=6.0),
        usage(completion_tokens=None),
        usage(prompt_tokens=10**9 + 1),
        usage(completion_tokens=10**30),
        {"total_tokens": 16},
        {"prompt_tokens": 10},
        [10, 6],
        "16",
        16,
    ],
    ids=str,
)
def test_absurd_usage_counts_as_absent_and_is_logged(
    loopback: Loopback, bad: object, logs: list[EventDict]
) -> None:
    assert reported(loopback, bad) == []
    assert {line["event"] for line in logs} == {"upstream_usage_ignored"}


@pytest.mark.parametrize(
    "details",
    [
        {"prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 5}},
        {"prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens_details": {"cached_tokens": "4"}},
        {"prompt_tokens_details": [4]},
        {"completion_tokens_details": {"reasoning_tokens": 7}},
    ],
    ids=str,
)
def test_absurd_parts_of_usage_are_ignored_and_logged(
    loopback: Loopback, details: dict[str, Any], logs: list[EventDict]
) -> None:
    assert reported(loopback, usage(**details)) == [USAGE]
    assert {line["event"] for line in logs} == {"upstream_usage_ignored"}


def test_null_details_are_no_problem(loopback: Loopback, logs: list[EventDict]) -> None:
    details = {"prompt_tokens_details": None, "completion_tokens_details": None}
    assert reported(loopback, usage(**details)) == [USAGE]
    assert logs == []


# Failures


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("model", "error", "status", "maybe_billed", "excerpt"),
    [
        ("unauthorized", UpstreamRejected, 401, False, "Incorrect API key provided: [key]"),
        ("bad-request", UpstreamRejected, 400, False, "maximum context length is 4096 tokens"),
        ("redirect", UpstreamRejected, 302, False, "{}"),
        ("rate-limited", UpstreamRateLimited, 429, False, "Slow down"),
        ("error", UpstreamBroken, 500, False, "The server had an error"),
        ("overloaded", UpstreamBroken, 502, True, "<html>502</html>"),
        ("cut-before-answer", UpstreamBroken, None, True, "the connection was lost"),
        ("close-before-answer", UpstreamBroken, None, True, "the connection was lost"),
        ("cut-json", UpstreamBroken, 200, True, "the connection was lost"),
        ("not-http", UpstreamBroken, None, True, "not HTTP within our bounds"),
        ("not-json", UpstreamBroken, 200, True, "not JSON"),
        ("gzip", UpstreamBroken, 200, True, "compressed"),
        ("huge-header", UpstreamBroken, None, True, "not HTTP within our bounds"),
        ("many-headers", UpstreamBroken, None, True, "not HTTP within our bounds"),
        ("huge-body", UpstreamBroken, 200, True, "more than 8388608 bytes"),
        ("empty", UpstreamBroken, 200, True, ""),
        ("empty-choices", UpstreamBroken, 200, True, "no choices"),
        ("error-in-200", UpstreamBroken, 200, True, "the model fell over"),
        ("slow-head", UpstreamTimeout, None, True, "first byte timeout"),
        ("slow-json", UpstreamTimeout, 200, True, "idle timeout"),
    ],
)
def test_failure_before_the_first_event_is_told_exactly(
    loopback: Loopback,
    model: str,
    error: type[ProviderError],
    status: int | None,
    maybe_billed: bool,
    excerpt: str,
    streamed: bool,
) -> None:
    got = heard(loopback, model, streamed=streamed, **SHORT)
    assert not got.opened
    assert type(got.error) is error
    assert (got.error.status, got.error.sent, got.error.maybe_billed) == (
        status,
        True,
        maybe_billed,
    )
    assert excerpt in got.error.excerpt


@pytest.mark.parametrize(
    ("model", "error", "excerpt"),
    [
        ("error-first", UpstreamBroken, "the model fell over"),
        ("cut-before-event", UpstreamBroken, "the connection was lost"),
        ("slow-first-event", UpstreamTimeout, "first byte timeout"),
    ],
)
def test_stream_that_fails_before_its_first_event_is_not_opened(
    loopback: Loopback, model: str, error: type[ProviderError], excerpt: str
) -> None:
    got = heard(loopback, model, **SHORT)
    assert not got.opened
    assert type(got.error) is error
    assert excerpt in got.error.excerpt


@pytest.mark.parametrize(
    ("model", "error", "excerpt"),
    [
        ("cut", UpstreamBroken, "the connection was lost"),
        ("cut-clean", UpstreamBroken, "the stream ended before the answer did"),
        ("error-in-stream", UpstreamBroken, "the model fell over"),
        ("stall", UpstreamTimeout, "idle timeout"),
    ],
)
def test_stream_that_fails_midway_gives_what_came_before(
    loopback: Loopback, model: str, error: type[ProviderError], excerpt: str
) -> None:
    got = heard(loopback, model, **SHORT)
    assert (got.opened, text_of(got.events)) == (True, "".join(WORDS[:3]))
    assert type(got.error) is error
    assert excerpt in got.error.excerpt
    assert (got.error.status, got.error.reference, got.error.maybe_billed) == (
        200,
        "req-stream",
        True,
    )


def test_error_in_the_same_read_as_words_comes_after_them(loopback: Loopback) -> None:
    loopback.plays["both"] = stream(
        data(chunk({"content": "Hi"})) + data({"error": {"message": "oops"}})
    )
    got = heard(loopback, "both")
    assert got.events == [Delta("Hi")]
    assert got.error
    assert got.error.excerpt == "oops"


def test_stream_that_ends_between_growing_usages_was_cut_off(loopback: Loopback) -> None:
    loopback.plays["cut"] = stream(ROLE, *growing_usage()[:3])
    got = heard(loopback, "cut")
    assert text_of(got.events) == "".join(WORDS[:3])
    assert isinstance(got.error, UpstreamBroken)
    assert got.error.excerpt == "the stream ended before the answer did"


@pytest.mark.parametrize("model", ["huge-line", "huge-event"])
def test_endless_line_or_event_is_cut_off(loopback: Loopback, model: str) -> None:
    got = heard(loopback, model)
    assert isinstance(got.error, UpstreamBroken)
    assert "more than" in got.error.excerpt


def test_idle_timeout_holds_also_where_the_first_byte_may_take_longer(loopback: Loopback) -> None:
    started = time.monotonic()
    got = heard(loopback, "stall", first_byte_timeout_ms=5_000, idle_timeout_ms=200)
    assert isinstance(got.error, UpstreamTimeout)
    assert time.monotonic() - started < 2


def test_total_time_is_bounded_while_words_still_come(loopback: Loopback) -> None:
    got = heard(loopback, "drip", total_timeout_ms=300)
    assert got.events
    assert isinstance(got.error, UpstreamTimeout)
    assert got.error.excerpt == "total timeout"


@pytest.mark.parametrize(
    ("headers", "reference"),
    [
        ({"x_request_id": "req-1"}, "req-1"),
        ({"cf_aig_log_id": "log-1", "x_request_id": "req-1"}, "log-1"),
        ({"x_request_id": "a b"}, None),
        ({"x_request_id": "gr\xf6\xdfe"}, None),
        ({"x_request_id": "x" * 201}, None),
        ({"x_other": "1"}, None),
    ],
)
def test_reference_is_taken_from_two_headers_only(
    loopback: Loopback, headers: dict[str, Any], reference: str | None
) -> None:
    loopback.plays["ref"] = plain(completion(), **headers)
    got = heard(loopback, "ref", streamed=False)
    assert got.answer
    assert got.answer.reference == reference
