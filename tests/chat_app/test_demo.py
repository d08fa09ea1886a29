"""The demo provider: every scenario, word by word, the same each time."""

from __future__ import annotations

import asyncio

import pytest

from chat_app.providers.base import (
    Delta,
    Finished,
    UpstreamBroken,
    UpstreamRejected,
    UpstreamTimeout,
    UsageReport,
)
from chat_app.providers.demo import DEMO_MODELS, LONG_ANSWER_WORDS, DemoProvider
from chat_app.schema import Message
from tests.chat_app.providers import SECONDS, Heard, call, hear
from tests.chat_app.snapshots import route, upstream
from usage_app.pricing import UsageFigures

HELLO = (Message("system", "Be kind."), Message("user", "hello"), Message("user", "hello you"))
# "You said: hello you" has 19 characters; the prompt 8, 5 and 9.
USAGE = UsageReport(UsageFigures(input=2 + 2 + 3, output=5))


def heard(
    model: str, *, stream: bool = True, max_tokens: int = 1000, patience: int = 5000
) -> Heard:
    target = route(model, upstream(first_byte_timeout_ms=patience))
    asked = call(messages=HELLO, stream=stream, max_tokens=max_tokens)
    return asyncio.run(hear(DemoProvider(), target, asked))


def test_echo_comes_word_by_word() -> None:
    assert heard("demo-echo").events == [
        Delta("You"),
        Delta(" said:"),
        Delta(" hello"),
        Delta(" you"),
        Finished("stop"),
        USAGE,
    ]


def test_echo_in_one_piece_says_the_same() -> None:
    assert heard("demo-echo", stream=False).events == [
        Delta("You said: hello you"),
        Finished("stop"),
        USAGE,
    ]


@pytest.mark.parametrize("stream", [True, False])
def test_max_tokens_is_honoured(stream: bool) -> None:
    got = heard("demo-echo", stream=stream, max_tokens=2)
    assert "".join(event.text for event in got.events if isinstance(event, Delta)) == "You said"
    assert got.events[-2:] == [Finished("length"), UsageReport(UsageFigures(input=7, output=2))]


@pytest.mark.parametrize("stream", [True, False])
def test_unreported_says_no_usage(stream: bool) -> None:
    got = heard("demo-unreported", stream=stream)
    assert got.events[-1] == Finished("stop")
    assert got.of(UsageReport) == []


@pytest.mark.parametrize("stream", [True, False])
def test_error_fails_before_its_first_word(stream: bool) -> None:
    got = heard("demo-error", stream=stream)
    assert not got.opened
    assert isinstance(got.error, UpstreamBroken)
    assert (got.error.status, got.error.maybe_billed) == (500, False)


def test_drop_breaks_off_after_three_words() -> None:
    got = heard("demo-drop")
    assert got.opened
    assert got.events == [Delta("You"), Delta(" said:"), Delta(" hello")]
    assert isinstance(got.error, UpstreamBroken)


def test_drop_in_one_piece_gives_nothing() -> None:
    got = heard("demo-drop", stream=False)
    assert (got.opened, got.events) == (False, [])
    assert isinstance(got.error, UpstreamBroken)
    assert got.error.maybe_billed


def test_slow_keeps_to_the_upstreams_patience() -> None:
    got = heard("demo-slow", patience=50)
    assert isinstance(got.error, UpstreamTimeout)


def test_long_has_all_its_words() -> None:
    [delta, *_] = heard("demo-long", stream=False, max_tokens=10_000).events
    assert isinstance(delta, Delta)
    assert len(delta.text.split()) == LONG_ANSWER_WORDS


def test_other_names_are_refused() -> None:
    got = heard("gpt-4o")
    assert isinstance(got.error, UpstreamRejected)
    assert got.error.status == 404


def test_every_demo_model_has_a_description() -> None:
    assert list(DEMO_MODELS) == [
        "demo-echo",
        "demo-slow",
        "demo-error",
        "demo-drop",
        "demo-unreported",
        "demo-long",
    ]
    assert all(DEMO_MODELS.values())


def test_empty_message_is_echoed_too() -> None:
    asked = call(messages=(Message("user", " "),), stream=True)
    got = asyncio.run(hear(DemoProvider(), route("demo-echo"), asked))
    assert got.error is None
    assert "".join(event.text for event in got.events if isinstance(event, Delta)) == "You said:  "


def test_closed_answer_says_no_more() -> None:
    async def ask() -> list[object]:
        answer = await DemoProvider().open(route("demo-long"), call(), seconds=SECONDS)
        await anext(answer)
        await answer.aclose()
        return [events async for events in answer]

    assert asyncio.run(ask()) == []
