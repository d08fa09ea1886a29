"""Each way in which an upstream fails: what the client is told, and what is charged."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from tests.factories import make_budget, make_model, make_route, make_upstream
from tests.faults.books import settled
from tests.faults.conftest import World
from tests.faults.crowd import Ending, body, ending
from tests.live import Server
from tests.loopback import Loopback
from tests.loopback_plays import DONE, STOP, completion, data, either, stream, words
from usage_app.models import LedgerEntry

pytestmark = pytest.mark.xdist_group("faults")

IMPATIENT: dict[str, Any] = {
    "connect_timeout_ms": 2000,
    "first_byte_timeout_ms": 700,
    "idle_timeout_ms": 700,
}
Told = tuple[int, str | None]
AI_ERROR: Told = (502, "ai_error")
AI_TIMEOUT: Told = (504, "ai_timeout")
TOLD_IN_THE_STREAM = {AI_ERROR: (200, "ai_error"), AI_TIMEOUT: (200, "ai_timeout")}


class Row(NamedTuple):
    """What becomes of a request. `billed` is whether the provider may bill its attempt."""

    told: Told
    tokens: tuple[int, int] = (0, 0)
    source: str = "estimated"
    outcome: str = "error"
    attempt: str = "broken"
    status: int | None = None
    billed: bool = False


# Before the first byte it is the same, streamed or not, and costs nothing.
BEFORE: dict[str, Row] = {
    "refused": Row(AI_ERROR, attempt="unreachable"),
    "no-such-host": Row(AI_ERROR, attempt="unreachable"),
    "unauthorized": Row(AI_ERROR, attempt="rejected", status=401),
    "bad-request": Row(AI_ERROR, attempt="rejected", status=400),
    "rate-limited": Row(AI_ERROR, attempt="rate_limited", status=429),
    "redirect": Row(AI_ERROR, attempt="rejected", status=302),
    "error": Row(AI_ERROR, status=500),
    "overloaded": Row(AI_ERROR, status=502, billed=True),
    "slow-head": Row(AI_TIMEOUT, attempt="timeout", billed=True),
    "cut-before-answer": Row(AI_ERROR, billed=True),
    "close-before-answer": Row(AI_ERROR, billed=True),
    "not-http": Row(AI_ERROR, billed=True),
    "not-json": Row(AI_ERROR, status=200, billed=True),
    "huge-header": Row(AI_ERROR, billed=True),
    "huge-length": Row(AI_ERROR, status=200, billed=True),
    "error-in-200": Row(AI_ERROR, status=200, billed=True),
}
WHOLE: dict[str, Row] = BEFORE | {
    "cut-json": Row(AI_ERROR, status=200, billed=True),
    "slow-json": Row(AI_TIMEOUT, attempt="timeout", status=200, billed=True),
    "huge-body": Row(AI_ERROR, status=200, billed=True),
    "no-usage": Row((200, None), (2, 9), outcome="ok", attempt="ok", status=200),
    "absurd-usage": Row((200, None), (2, 9), outcome="ok", attempt="ok", status=200),
    "good": Row((200, None), (10, 6), "provider", "ok", "ok", 200),
}
# Once begun, what was relayed is charged: "Hello from the" comes to 4 tokens, all to 9.
STREAMED: dict[str, Row] = BEFORE | {
    "error-first": Row(AI_ERROR, status=200, billed=True),
    "slow-first-event": Row(AI_TIMEOUT, attempt="timeout", status=200, billed=True),
    "cut": Row(AI_ERROR, (2, 4), "partial", status=200, billed=True),
    "cut-clean": Row(AI_ERROR, (2, 4), "partial", status=200, billed=True),
    "error-in-stream": Row(AI_ERROR, (2, 4), "partial", status=200, billed=True),
    "stall": Row(AI_TIMEOUT, (2, 4), "partial", attempt="timeout", status=200, billed=True),
    "garbage-midway": Row(AI_ERROR, (2, 9), "partial", status=200, billed=True),
    "huge-line": Row(AI_ERROR, status=200, billed=True),
    "cut-after-usage": Row(AI_ERROR, (10, 3), "partial", status=200, billed=True),
    "no-usage": Row((200, None), (2, 9), outcome="ok", attempt="ok", status=200),
    "absurd-usage": Row((200, None), (2, 9), outcome="ok", attempt="ok", status=200),
    "good": Row((200, None), (10, 6), "provider", "ok", "ok", 200),
}
ABSURD = {"prompt_tokens": -5, "completion_tokens": 10**15, "total_tokens": "many"}


@pytest.fixture
def upstreams(acme: World, loopback: Loopback) -> World:
    """Every play of the tables by its name, behind an upstream that is soon out of patience."""
    for name, value in IMPATIENT.items():
        setattr(acme.upstream, name, value)
    acme.upstream.save()
    for name, url in (("refused", "http://127.0.0.1:1/v1"), ("no-such-host", "http://x.invalid/")):
        upstream = make_upstream(kind="openai", base_url=url, **IMPATIENT)
        make_route(make_model(name), upstream)
    absurd = data({"choices": [], "usage": ABSURD})
    loopback.plays |= {
        "absurd-usage": either(stream(*words(), STOP, absurd, DONE), completion(usage=ABSURD)),
        "garbage-midway": stream(*words(), 0.05, b"data: oops {\n\n", 30.0),
        "cut-after-usage": stream(
            *words()[:2],
            data({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 3}}),
            data({"error": {"message": "the model fell over"}}),
        ),
    }
    make_budget(acme.tenant, "tokens", "day", 1_000_000)
    return acme


def test_upstream_failures_of_whole_answers(live: Server, upstreams: World) -> None:
    assert table(live, upstreams, WHOLE, stream=False) == WHOLE
    assert [line["model"] for line in live.logs("upstream_usage_ignored")] == ["absurd-usage"]


def test_upstream_failures_of_streams(live: Server, upstreams: World) -> None:
    expected = {
        play: row._replace(told=TOLD_IN_THE_STREAM.get(row.told, row.told))
        for play, row in STREAMED.items()
    }
    assert table(live, upstreams, STREAMED, stream=True) == expected


def table(server: Server, world: World, plays: Mapping[str, Any], *, stream: bool) -> Any:
    """Ask for all plays at once; what became of each."""

    def ask(play: str) -> tuple[str, Ending]:
        response = server.chat(world.key, body(modelId=play, stream=stream))
        told = ending(response.status_code, response.text)
        if stream:
            assert told.frames[-1][0] == "done"
            assert (told.frames[-2][0] == "error") == (told.code is not None)
        return response.headers["x-request-id"], told

    with ThreadPoolExecutor(len(plays)) as threads:
        answers = dict(zip(plays, threads.map(ask, plays), strict=True))
    written = {str(entry.id): entry for entry in settled(world.tenant, len(plays))}
    return {play: row(told, written[request_id]) for play, (request_id, told) in answers.items()}


def row(told: Ending, entry: LedgerEntry) -> Row:
    (attempt,) = entry.attempts
    return Row(
        told=told.outcome,
        tokens=(entry.input_tokens, entry.output_tokens),
        source=entry.usage_source,
        outcome=entry.outcome,
        attempt=attempt["outcome"],
        status=attempt["status"],
        billed=attempt["maybeBilled"],
    )
