"""The contract of an answered chat, word by word: bodies, frames and headers, over the socket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from chat_app.models import ChatMessage
from tests.chat_app.contract import (
    HELLO_TOKENS,
    PROVIDER_TOKEN,
    USAGE,
    entry_of,
    house,
    playing,
    without,
)
from tests.factories import make_budget, make_price
from tests.live import Server, Servers, frames
from tests.loopback import Loopback
from tests.loopback_plays import DONE, STOP, TEXT, USAGE_CHUNK, failure, words
from tests.loopback_plays import stream as event_stream

pytestmark = pytest.mark.xdist_group("live")

SESSION = "11111111-1111-1111-1111-111111111111"
# What a server may send beside the headers of the contract.
PLAIN_HEADERS = {"date", "content-type", "content-length", "transfer-encoding", "connection"}


def contract_headers(answer: httpx.Response) -> dict[str, str]:
    return {k: v for k, v in answer.headers.items() if k not in PLAIN_HEADERS}


def next_day() -> str:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight + timedelta(days=1)).isoformat().replace("+00:00", "Z")


def test_whole_answer(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)

    answer = live.chat(acme.key, {"sessionId": SESSION})

    body = answer.json()
    told = body["data"].pop("usage")
    assert answer.status_code == 200
    assert body == {
        "ok": True,
        "data": {
            "sessionId": SESSION,
            "message": TEXT,
            "modelId": "good",
            "stream": False,
            "finishReason": "stop",
        },
    }
    assert without(told, "latencyMs", "ttftMs") == {
        "modelId": "good",
        **USAGE,
        "usageSource": "provider",
    }
    headers = contract_headers(answer)
    assert headers.pop("x-ai-latency-ms") == str(told["latencyMs"])
    assert UUID(headers["x-request-id"]).version == 7
    assert headers == {
        "x-model-id": "good",
        "x-model-reason": "tenant",
        "x-tokens-in": "10",
        "x-tokens-out": "6",
        "x-tokens-total": "16",
        "x-usage-source": "provider",
        "x-trace-id": headers["x-request-id"],
        "x-request-id": str(entry_of(answer).id),
    }
    assert answer.headers["content-type"] == "application/json"


def test_streamed_answer(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)

    answer = live.chat(acme.key, {"sessionId": SESSION, "stream": True})

    *texts, (event, done) = frames(answer.text)
    # What arrives together is told together.
    pieces = [data["content"] for _, data in texts]
    assert "".join(pieces) == TEXT
    assert texts == [
        (None, {"sessionId": SESSION, "role": "assistant", "content": p, "tenantId": "acme"})
        for p in pieces
    ]
    assert (event, list(done)) == ("done", ["done", "usage"])
    assert done["done"] is True
    assert without(done["usage"], "latencyMs", "ttftMs") == {
        "modelId": "good",
        **USAGE,
        "usageSource": "provider",
    }
    assert answer.text.startswith(
        f'data: {{"sessionId":"{SESSION}","role":"assistant","content":"Hello'
    )
    assert '","tenantId":"acme"}\n\nevent: done\ndata: {"done":true,' in answer.text
    headers = contract_headers(answer)
    assert headers == {
        "x-model-id": "good",
        "x-model-reason": "tenant",
        "x-tokens-in": str(HELLO_TOKENS),
        "x-trace-id": headers["x-request-id"],
        "x-request-id": str(entry_of(answer).id),
        "cache-control": "no-cache, no-transform",
        "x-accel-buffering": "no",
    }
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


def test_streaming_is_the_default(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    body = {"sessionId": SESSION, "message": "hello"}
    answer = live.client.post("/chat", json=body, headers={"x-api-key": acme.key.secret})
    assert frames(answer.text)[-1][0] == "done"


def test_a_session_is_any_uuid_text(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    written = ["11111111111111111111111111111111", SESSION.upper(), f"urn:uuid:{SESSION}"]
    told = [live.chat(acme.key, {"sessionId": s}).json()["data"]["sessionId"] for s in written]
    assert told == [SESSION] * 3


def test_usage_without_the_providers_word_is_estimated(live: Server, loopback: Loopback) -> None:
    acme = house(loopback, "no-usage", session_memory=False)
    output = -(-len(TEXT) // 4)
    expected = {"tokensIn": 2, "tokensOut": output, "totalTokens": 2 + output}

    whole = live.chat(acme.key)
    streamed = live.chat(acme.key, {"stream": True})

    for told in (whole.json()["data"]["usage"], frames(streamed.text)[-1][1]["usage"]):
        counted = without(told, "latencyMs", "ttftMs")
        assert counted == {"modelId": "no-usage", **expected, "usageSource": "estimated"}
    assert whole.headers["x-usage-source"] == "estimated"
    assert {entry_of(a).usage_source for a in (whole, streamed)} == {"estimated"}


def test_the_tightest_budget_is_told(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    make_budget(acme.tenant, "tokens", "month", 1_000_000)
    make_budget(acme.tenant, "tokens", "day", 5_000)
    budget = {
        "scope": "tenant",
        "metric": "tokens",
        "period": "day",
        "limit": 5_000,
        "used": 16,
        "held": 0,
        "remaining": 4_984,
        "resetsAt": next_day(),
    }

    whole = live.chat(acme.key)
    streamed = live.chat(acme.key, {"stream": True})

    assert whole.json()["data"]["budget"] == budget
    assert frames(streamed.text)[-1][1]["budget"] == budget | {"used": 32, "remaining": 4_968}
    assert whole.headers["x-budget-limit"] == "5000"
    assert whole.headers["x-budget-remaining"] == "4984"
    assert whole.headers["x-budget-resets-at"] == next_day()
    # What is known at the start of a stream: its own hold is not yet given back.
    held = len("hello") + 8 + 1024
    assert streamed.headers["x-budget-remaining"] == str(4_984 - held)


def test_a_key_s_money_budget_is_exact_text(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    make_price(playing(loopback, "good"), input="0.3", output="1.1")
    make_budget(acme.tenant, "cost", "day", "0.5", api_key=acme.key.key)

    told = live.chat(acme.key).json()["data"]["budget"]

    # Ten tokens at 0.3 and six at 1.1, by the million.
    assert told | {"resetsAt": None} == {
        "scope": "key",
        "metric": "cost",
        "period": "day",
        "limit": "0.5",
        "used": "0.0000096",
        "held": "0",
        "remaining": "0.4999904",
        "resetsAt": None,
    }


def test_the_rate_limit_is_told(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    make_budget(acme.tenant, "requests", "minute", 60, burst=10)

    first, second = (live.chat(acme.key, {"stream": s}) for s in (False, True))

    for answer, remaining, reset in ((first, "9", "1"), (second, "8", "2")):
        told = {k: v for k, v in answer.headers.items() if k.startswith("x-ratelimit-")}
        assert told == {
            "x-ratelimit-limit": "60",
            "x-ratelimit-remaining": remaining,
            "x-ratelimit-reset": reset,
        }


@pytest.mark.parametrize(
    ("asked", "applied"),
    [
        pytest.param({}, None, id="default"),
        pytest.param({"maxTokens": 100}, None, id="as asked"),
        pytest.param({"maxTokens": 400}, "300", id="beyond the model"),
    ],
)
def test_a_clamped_cap_is_told(
    live: Server, loopback: Loopback, asked: dict[str, Any], applied: str | None
) -> None:
    playing(loopback, "good", default_output=200, max_output=300)
    answer = live.chat(house(loopback).key, asked)
    assert answer.headers.get("x-max-tokens-applied") == applied
    assert loopback.last.body["max_tokens"] == int(applied or asked.get("maxTokens", 200))


@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_clamps_the_cap(live: Server, loopback: Loopback, *, stream: bool) -> None:
    acme = house(loopback)
    make_budget(acme.tenant, "tokens", "day", 100)

    answer = live.chat(acme.key, {"stream": stream})

    room = 100 - len("hello") - 8
    assert answer.headers["x-max-tokens-applied"] == str(room)
    assert loopback.last.body["max_tokens"] == room


# --- trace ids ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ({"x-trace-id": "abc-1.2_3"}, "abc-1.2_3"),
        ({"x-request-id": "my-request"}, "my-request"),
        ({"cf-ray": "8a1b2c-FRA"}, "8a1b2c-FRA"),
        ({"x-trace-id": "a" * 128}, "a" * 128),
        (
            {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
            "0af7651916cd43dd8448eb211c80319c",
        ),
        ({"x-trace-id": "first", "x-request-id": "second", "cf-ray": "third"}, "first"),
        ({"x-trace-id": "not taken!", "cf-ray": "third"}, "third"),
    ],
)
def test_a_trace_id_is_taken(
    live: Server, loopback: Loopback, sent: dict[str, str], taken: str
) -> None:
    acme = house(loopback)

    whole = live.chat(acme.key, None, **sent)
    streamed = live.chat(acme.key, {"stream": True}, **sent)
    health = live.get("/health", acme.key, **sent)
    refused = live.chat(None, None, **sent)

    for answer in (whole, streamed, health, refused):
        assert answer.headers["x-trace-id"] == taken
        assert UUID(answer.headers["x-request-id"]).version == 7
    for answer in (whole, health, refused):
        assert answer.json()["traceId"] == taken
    assert frames(streamed.text)[-1][1]["traceId"] == taken
    assert entry_of(whole).trace_id == taken


@pytest.mark.parametrize("sent", ["a" * 129, "not taken", "a/b", "<script>", "é"])
def test_another_trace_id_is_replaced_and_told(live: Server, loopback: Loopback, sent: str) -> None:
    acme = house(loopback)
    headers = {b"x-api-key": acme.key.secret.encode(), b"x-trace-id": sent.encode()}
    body = {"sessionId": SESSION, "message": "hello", "stream": False}
    answer = live.client.post("/chat", json=body, headers=headers)
    assert answer.headers["x-trace-id"] == answer.headers["x-request-id"]
    assert answer.json()["traceId"] == answer.headers["x-request-id"]


def test_no_trace_id_is_told_to_whom_sent_none(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    answers = [live.chat(acme.key), live.get("/health"), live.chat(None)]
    assert ["traceId" in answer.json() for answer in answers] == [False] * 3
    stream = live.chat(acme.key, {"stream": True})
    assert "traceId" not in stream.text
    assert all("x-trace-id" in answer.headers for answer in (*answers, stream))


# --- which model --------------------------------------------------------------------------------


def test_the_request_names_the_model(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    playing(loopback, "crlf")
    answer = live.chat(acme.key, {"modelId": "crlf", "stream": True})
    assert answer.headers["x-model-id"] == "crlf"
    assert answer.headers["x-model-reason"] == "request"
    assert frames(answer.text)[-1][1]["usage"]["modelId"] == "crlf"
    assert entry_of(answer).model_reason == "request"


def test_the_environment_comes_before_the_tenant(servers: Servers, loopback: Loopback) -> None:
    server = servers(MODEL_ID="crlf", FALLBACK_MODEL_ID="good")
    for play in ("good", "crlf"):
        playing(loopback, play)
    acme = house(loopback, "error")

    by_environment = server.chat(acme.key, {"stream": True})
    by_request = server.chat(acme.key, {"modelId": "error"})

    assert by_environment.headers["x-model-id"] == "crlf"
    assert by_environment.headers["x-model-reason"] == "env"
    # FALLBACK_MODEL_ID is the first fallback of all.
    assert by_request.headers["x-model-id"] == "good"
    assert by_request.headers["x-model-reason"] == "fallback"


def test_a_model_of_the_environment_that_is_not_allowed_is_passed_over(
    servers: Servers, loopback: Loopback
) -> None:
    server = servers(MODEL_ID="crlf", FALLBACK_MODEL_ID="good")
    playing(loopback, "crlf")
    acme = house(loopback, allow_list_enabled=True)
    acme.tenant.allowed_models.set([playing(loopback, "good")])
    note = "MODEL_ID was passed over: The model crlf is not on the tenant's allow-list"

    answer = server.chat(acme.key)
    health = server.get("/health", acme.key)

    assert answer.headers["x-model-id"] == "good"
    assert answer.headers["x-model-reason"] == "tenant"
    assert server.logs("chat")[0]["notes"] == [note]
    assert health.json()["data"] == {
        "status": "ok",
        "tenantId": "acme",
        "environment": "dev",
        "modelId": "good",
        "fallbackModelId": None,
        "notes": [note],
    }


# --- sessions -----------------------------------------------------------------------------------


def test_a_session_is_remembered(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    session = {"sessionId": str(uuid4())}

    live.chat(acme.key, session)
    live.chat(acme.key, {**session, "message": "and then?", "stream": True})

    assert loopback.last.body["messages"] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": TEXT},
        {"role": "user", "content": "and then?"},
    ]
    assert ChatMessage.objects.for_tenant(acme.tenant).count() == 4


def test_without_memory_nothing_is_stored(live: Server, loopback: Loopback) -> None:
    acme = house(loopback, session_memory=False)
    session = {"sessionId": str(uuid4())}
    for stream in (False, True):
        live.chat(acme.key, {**session, "stream": stream})
    assert loopback.last.body["messages"] == [{"role": "user", "content": "hello"}]
    assert ChatMessage.objects.count() == 0


def test_what_the_client_says_about_itself_is_on_the_entry(
    live: Server, loopback: Loopback
) -> None:
    acme = house(loopback)
    said = {"userId": "ann@example.org", "metadata": {"feature": "search", "n": 3}}

    answer = live.chat(acme.key, {**said, "temperature": 0.5})

    entry = entry_of(answer)
    assert entry.metadata == said["metadata"]
    assert len(entry.user_hash) == 64
    assert loopback.last.body["temperature"] == 0.5
    assert loopback.last.body["user"] == entry.user_hash
    assert b"ann@example.org" not in loopback.last.raw


# --- what is passed on and collected ------------------------------------------------------------


def test_the_upstream_is_told_whose_call_it_is(live: Server, loopback: Loopback) -> None:
    acme = house(loopback)
    acme.fall_back_to(playing(loopback, "crlf"))
    loopback.plays["good"] = failure(500, "no")

    live.chat(acme.key, {"sessionId": SESSION, "stream": True}, x_trace_id="trace-1")

    told = [
        {k: v for k, v in asked.headers.items() if k.startswith("x-tollgate-")}
        for asked in loopback.requests
    ]
    known = {
        "x-tollgate-tenant-id": "acme",
        "x-tollgate-trace-id": "trace-1",
        "x-tollgate-session-id": SESSION,
    }
    assert told == [
        known | {"x-tollgate-route": route} for route in ("good", "good", "good", "crlf")
    ]
    assert {asked.headers["authorization"] for asked in loopback.requests} == {
        f"Bearer {PROVIDER_TOKEN}"
    }


@pytest.mark.parametrize("stream", [False, True])
def test_latency_and_tokens_are_told_logged_and_kept(
    live: Server, loopback: Loopback, *, stream: bool
) -> None:
    acme = house(loopback)
    pauses = [0.05, *(step for word in words() for step in (word, 0.02))]
    if stream:
        loopback.plays["good"] = event_stream(*pauses, STOP, USAGE_CHUNK, DONE)

    answer = live.chat(acme.key, {"stream": stream})

    usage = frames(answer.text)[-1][1]["usage"] if stream else answer.json()["data"]["usage"]
    entry = entry_of(answer)
    (line,) = live.logs("chat")
    kept = (entry.input_tokens, entry.output_tokens, entry.total_tokens)
    assert kept == (10, 6, 16) == (usage["tokensIn"], usage["tokensOut"], usage["totalTokens"])
    assert (line["tokensIn"], line["tokensOut"]) == (10, 6)
    assert (entry.latency_ms, entry.ttft_ms) == (usage["latencyMs"], usage["ttftMs"])
    assert (line["latencyMs"], line["ttftMs"]) == (usage["latencyMs"], usage["ttftMs"])
    assert 0 <= usage["ttftMs"] <= usage["latencyMs"]
    if stream:
        assert usage["ttftMs"] >= 50
        assert usage["latencyMs"] >= usage["ttftMs"] + 50
    else:
        assert answer.headers["x-ai-latency-ms"] == str(usage["latencyMs"])
    day = live.get("/usage", acme.key).json()["data"]["totals"]
    assert (day["requests"], day["tokensIn"], day["tokensOut"]) == (1, 10, 6)
