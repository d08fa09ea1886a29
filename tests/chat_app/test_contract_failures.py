"""The contract when an upstream fails: before its first byte, after it, and with a fallback."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from chat_app.models import ChatMessage
from tenants_app.models import Model
from tests.chat_app.contract import House, entry_of, house, playing, upstream_at, without
from tests.factories import make_budget, make_model, make_price, make_route
from tests.live import Server, eventually, frames
from tests.loopback import Loopback
from tests.loopback_plays import TEXT, WORDS, Abort, growing_usage, stream
from usage_app.models import UsageWindow

pytestmark = pytest.mark.xdist_group("live")

AI_ERROR = {"code": "ai_error", "message": "AI provider unavailable"}
AI_TIMEOUT = {"code": "ai_timeout", "message": "AI provider did not answer in time"}
# Each leaves the stream before its first byte.
REFUSALS = (
    "unauthorized",
    "rate-limited",
    "error",
    "overloaded",
    "not-http",
    "close-before-answer",
)
HALF = "".join(WORDS[:3])


def closing(answer: httpx.Response) -> tuple[dict[str, Any], dict[str, Any]]:
    """The error and the `done` frame of a stream that failed."""
    *_, (error_event, error), (done_event, done) = frames(answer.text)
    assert (error_event, done_event) == ("error", "done")
    assert answer.text.index("event: error") < answer.text.index("event: done")
    return error, done


def impatient(loopback: Loopback, play: str) -> None:
    """A model whose upstream is waited for a tenth of a second."""
    patience = {"first_byte_timeout_ms": 100, "idle_timeout_ms": 100}
    make_route(make_model(play), upstream_at(loopback, "impatient", **patience))


@pytest.mark.parametrize("play", REFUSALS)
def test_failure_before_the_first_byte(live: Server, loopback: Loopback, play: str) -> None:
    acme = house(loopback, play)

    whole = live.chat(acme.key)
    streamed = live.chat(acme.key, {"stream": True})

    assert whole.status_code == 502
    assert whole.json() == {"ok": False, "error": AI_ERROR}
    assert whole.headers["content-type"] == "application/json"
    assert streamed.status_code == 200
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    error, done = closing(streamed)
    assert error == AI_ERROR
    assert without(done.pop("usage"), "latencyMs") == {"modelId": play, "tokensIn": 2}
    assert done == {"done": True}
    for answer in (whole, streamed):
        assert answer.headers["x-model-id"] == play
        assert answer.headers["x-model-reason"] == "tenant"
        assert answer.headers["x-tokens-in"] == "2"
        entry = entry_of(answer)
        assert (entry.outcome, entry.error_code, entry.total_tokens) == ("error", "ai_error", 0)


@pytest.mark.parametrize("stream", [False, True])
def test_upstream_that_does_not_answer_in_time(
    live: Server, loopback: Loopback, *, stream: bool
) -> None:
    impatient(loopback, "slow-head")
    acme = house(loopback, "slow-head")

    answer = live.chat(acme.key, {"stream": stream})

    if stream:
        assert (answer.status_code, closing(answer)[0]) == (200, AI_TIMEOUT)
    else:
        assert (answer.status_code, answer.json()) == (504, {"ok": False, "error": AI_TIMEOUT})
    assert entry_of(answer).error_code == "ai_timeout"


@pytest.mark.parametrize(
    ("play", "error"),
    [("cut", AI_ERROR), ("error-in-stream", AI_ERROR), ("stall", AI_TIMEOUT)],
)
def test_failure_after_the_first_token(
    live: Server, loopback: Loopback, play: str, error: dict[str, str]
) -> None:
    impatient(loopback, "stall")
    acme = house(loopback, play)
    make_price(playing(loopback, play), input="1", output="2")

    answer = live.chat(acme.key, {"stream": True})

    output = -(-len(HALF) // 4)
    told, done = closing(answer)
    assert answer.status_code == 200
    assert told == error
    assert "".join(data["content"] for _, data in frames(answer.text)[:-2]) == HALF
    usage = done.pop("usage")
    assert list(usage) == [
        "modelId",
        "tokensIn",
        "tokensOut",
        "totalTokens",
        "latencyMs",
        "charged",
    ]
    assert without(usage, "latencyMs") == {
        "modelId": play,
        "tokensIn": 2,
        "tokensOut": output,
        "totalTokens": 2 + output,
        "charged": 2 + output,
    }
    assert done == {"done": True}
    entry = entry_of(answer)
    assert (entry.outcome, entry.usage_source) == ("error", "partial")
    assert (entry.input_tokens, entry.output_tokens) == (2, output)
    assert entry.cost == Decimal(2 + 2 * output) / 1_000_000


def test_cut_stream_whose_provider_counted_is_charged_its_word(
    live: Server, loopback: Loopback
) -> None:
    loopback.plays["counted"] = stream(*growing_usage()[:3], 0.02, Abort())
    acme = house(loopback, "counted")

    usage = closing(live.chat(acme.key, {"stream": True}))[1]["usage"]

    # `tokensIn` is our estimate, as in every failure; `charged` is what it came to.
    assert without(usage, "latencyMs") == {
        "modelId": "counted",
        "tokensIn": 2,
        "tokensOut": 3,
        "totalTokens": 5,
        "charged": 13,
    }


def test_a_failed_turn_stays_in_its_session(live: Server, loopback: Loopback) -> None:
    acme = house(loopback, "error")
    session = {"sessionId": str(uuid4()), "stream": True}

    counted = [
        closing(live.chat(acme.key, session))[1]["usage"]["tokensIn"],
        closing(live.chat(acme.key, session))[1]["usage"]["tokensIn"],
    ]

    assert counted == [2, 4]
    assert [m.role for m in ChatMessage.objects.all()] == ["user", "user"]


def test_a_failed_turn_without_memory_is_forgotten(live: Server, loopback: Loopback) -> None:
    acme = house(loopback, "error", session_memory=False)
    session = {"sessionId": str(uuid4()), "stream": True}
    counted = [closing(live.chat(acme.key, session))[1]["usage"]["tokensIn"] for _ in range(2)]
    assert counted == [2, 2]
    assert not ChatMessage.objects.exists()


def test_a_failure_costs_a_request_and_no_tokens(live: Server, loopback: Loopback) -> None:
    acme = house(loopback, "error")
    make_budget(acme.tenant, "tokens", "day", 5_000)

    streamed = live.chat(acme.key, {"stream": True})

    assert "budget" not in closing(streamed)[1]
    assert streamed.headers["x-budget-remaining"] == "5000"
    day = UsageWindow.objects.get(period="day", api_key=None)
    assert (day.requests, day.tokens, day.held_requests, day.held_tokens) == (1, 0, 0, 0)


def falling_back(loopback: Loopback, *plays: str) -> House:
    """A tenant whose default model is the first, with the others as its chain."""
    acme = house(loopback, plays[0])
    acme.fall_back_to(*(playing(loopback, play) for play in plays[1:]))
    return acme


@pytest.mark.parametrize("stream", [False, True])
def test_a_fallback_answers_and_says_so(live: Server, loopback: Loopback, *, stream: bool) -> None:
    acme = falling_back(loopback, "error", "rate-limited", "good")

    answer = live.chat(acme.key, {"stream": stream})

    assert answer.status_code == 200
    assert answer.headers["x-model-id"] == "good"
    assert answer.headers["x-model-reason"] == "fallback"
    body = frames(answer.text)[-1][1]["usage"] if stream else answer.json()["data"]
    assert body["modelId"] == "good"
    (line,) = live.logs("chat")
    assert (line["model"], line["modelReason"], line["attempts"]) == ("good", "fallback", 5)
    entry = entry_of(answer)
    assert (entry.model, entry.model_reason, entry.outcome) == ("good", "fallback", "ok")
    told = [(a["model"], a["outcome"], a["status"], a["maybeBilled"]) for a in entry.attempts]
    assert told == [
        *[("error", "broken", 500, False)] * 3,
        ("rate-limited", "rate_limited", 429, False),
        ("good", "ok", 200, False),
    ]


def test_the_last_model_tried_is_named(live: Server, loopback: Loopback) -> None:
    acme = falling_back(loopback, "error", "overloaded")

    streamed = live.chat(acme.key, {"stream": True})
    whole = live.chat(acme.key)

    assert closing(streamed)[1]["usage"]["modelId"] == "overloaded"
    for answer in (streamed, whole):
        assert answer.headers["x-model-id"] == "overloaded"
        assert answer.headers["x-model-reason"] == "fallback"
        assert entry_of(answer).model == "overloaded"


def test_a_fallback_that_left_the_allow_list_meanwhile_is_passed_over(
    live: Server, loopback: Loopback
) -> None:
    patient = upstream_at(loopback, "patient", first_byte_timeout_ms=700)
    slow = make_model("slow-head")
    make_route(slow, patient)
    acme = house(loopback, "slow-head", allow_list_enabled=True)
    acme.fall_back_to(playing(loopback, "good"))
    acme.tenant.allowed_models.set([slow, Model.objects.get(public_id="good")])

    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(live.chat, acme.key)
        assert eventually(lambda: loopback.requests)
        acme.tenant.allowed_models.set([slow])
        answer = asked.result()

    assert (answer.status_code, answer.json()["error"]) == (504, AI_TIMEOUT)
    told = [(a["model"], a["outcome"]) for a in entry_of(answer).attempts]
    assert told == [("slow-head", "timeout"), ("good", "not_usable")]
    assert len(loopback.requests) == 1


def test_a_fallback_of_a_tenant_whose_budget_was_lowered_meanwhile_is_passed_over(
    live: Server, loopback: Loopback
) -> None:
    patient = upstream_at(loopback, "patient", first_byte_timeout_ms=700)
    make_route(make_model("slow-head"), patient)
    acme = house(loopback, "slow-head")
    acme.fall_back_to(playing(loopback, "good"))
    budget = make_budget(acme.tenant, "tokens", "day", 1_000_000)

    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(live.chat, acme.key)
        assert eventually(lambda: loopback.requests)
        budget.limit = 1
        budget.save()
        answer = asked.result()

    assert (answer.status_code, answer.json()["error"]) == (504, AI_TIMEOUT)
    told = [(a["model"], a["outcome"]) for a in entry_of(answer).attempts]
    assert told == [("slow-head", "timeout"), ("good", "not_usable")]


def test_nobody_falls_back_after_the_first_token(live: Server, loopback: Loopback) -> None:
    acme = falling_back(loopback, "cut", "good")
    answer = live.chat(acme.key, {"stream": True})
    assert closing(answer)[0] == AI_ERROR
    assert answer.headers["x-model-reason"] == "tenant"
    assert TEXT not in answer.text
    assert [r.body["model"] for r in loopback.requests] == ["cut"]


def test_a_stream_that_ends_without_usage_and_reason_is_an_answer(
    live: Server, loopback: Loopback
) -> None:
    acme = house(loopback, "no-finish-reason")
    whole = frames(live.chat(acme.key, {"stream": True}).text)
    assert [event for event, _ in whole if event] == ["done"]
