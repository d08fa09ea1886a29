"""The tables of docs/ai-gateway-fallbacks.md, row by row: what becomes of a request whose upstream
fails, on the client's side, on the ledger, and with a fallback.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.conf import settings

from tenants_app.models import TenantFallback
from tests.factories import make_budget, make_model, make_route, make_upstream
from tests.faults.books import settled
from tests.faults.conftest import World
from tests.faults.crowd import Ending, body, ending
from tests.live import Server
from tests.loopback import Loopback
from tests.loopback_plays import DONE, STOP, Play, completion, data, either, failure, stream, words
from usage_app.models import LedgerEntry

pytestmark = pytest.mark.xdist_group("faults")

PAGE = Path(__file__).parents[2] / "docs" / "ai-gateway-fallbacks.md"
IMPATIENT: dict[str, Any] = {
    "connect_timeout_ms": 2000,
    "first_byte_timeout_ms": 700,
    "idle_timeout_ms": 700,
}
KINDS: dict[str, dict[str, Any]] = {
    "openai": {"kind": "openai"},
    "cloudflare": {"kind": "cloudflare", "form": "rest", "account_id": "a", "gateway_id": "g"},
}
ELSEWHERE = {
    "refused": "http://127.0.0.1:1/v1",
    "no-such-host": "http://x.invalid/v1",
    "forbidden": "http://169.254.169.254/v1",
}
ABSURD = {"prompt_tokens": -5, "completion_tokens": 10**15, "total_tokens": "many"}
USAGE_OF_TWO_WORDS = {"prompt_tokens": 10, "completion_tokens": 3}
NO_QUOTA = {"message": "No money", "param": None, "code": "insufficient_quota"}
PLAYS: dict[str, Any] = {
    "busy": failure(429, "Slow down", Retry_After="0"),
    "no-quota": Play([json.dumps({"error": NO_QUOTA}).encode()], 429, framing="length"),
    "error-for-good": failure(500, "The server had an error", X_Should_Retry="false"),
    "unavailable": failure(503, "Overloaded"),
    "gateway-timeout": failure(504, "Timeout"),
    "absurd-usage": either(
        stream(*words(), STOP, data({"choices": [], "usage": ABSURD}), DONE),
        completion(usage=ABSURD),
    ),
    "garbage-midway": stream(*words(), 0.05, b"data: oops {\n\n", 30.0),
    "cut-after-usage": stream(
        *words()[:2],
        data({"choices": [], "usage": USAGE_OF_TWO_WORDS}),
        data({"error": {"message": "the model fell over"}}),
    ),
}
STATUSES = {"ai_error": 502, "ai_timeout": 504, "answer": 200}
# Tokens of "hello" and of what each play says, and their source: the provider's usage, or a quarter
# of the characters ("Hello from the" comes to 4, all of it to 9).
CHARGED = {
    "nothing": (0, 0, "estimated"),
    "estimate": (2, 9, "estimated"),
    "its usage": (10, 6, "provider"),
    "what was relayed": (2, 4, "partial"),
}
ODD = {"garbage-midway": (2, 9, "partial"), "cut-after-usage": (10, 3, "partial")}


class Row(NamedTuple):
    """One row of the page."""

    attempt: str
    asked_again: str
    client: str
    billed: str
    charged: str


def rows(title: str) -> dict[str, Row]:
    """The table under a heading, by play."""
    return dict(_rows(PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]))


def _rows(section: str) -> Iterator[tuple[str, Row]]:
    table = [line.strip("|").split("|") for line in section.splitlines() if line[:1] == "|"]
    names = [name.strip() for name in table[0]]
    for line in table[2:]:
        cells = dict(zip(names, (cell.strip().replace("`", "") for cell in line), strict=True))
        yield (
            cells["Play"],
            Row(
                cells["Attempt"],
                cells.get("Asked again", "no"),
                cells["Client"],
                cells["Maybe billed"],
                cells.get("Charged", "nothing"),
            ),
        )


BEFORE = rows("Failures before the first byte")
WHOLE = rows("Failures of a whole answer that has begun")
STREAMED = rows("Failures of a stream")
HALF_A_STREAM = {play for play, row in STREAMED.items() if row.charged == "what was relayed"}


@pytest.fixture(params=KINDS)
def upstreams(request: pytest.FixtureRequest, acme: World, loopback: Loopback) -> World:
    """Each play behind an upstream of its own, which is soon out of patience: circuits stay apart.

    The tenant may spend enough for all of them at once.
    """
    loopback.plays |= PLAYS
    fields = IMPATIENT | KINDS[request.param]
    for play in {**BEFORE, **WHOLE, **STREAMED}:
        url = ELSEWHERE.get(play, loopback.url)
        make_route(make_model(play), make_upstream(play, base_url=url, **fields))
    make_budget(acme.tenant, "tokens", "day", 10_000_000)
    return acme


def test_whole_answers_fail_as_the_page_says(live: Server, upstreams: World) -> None:
    table = BEFORE | WHOLE
    assert walk(live, upstreams, table, stream=False) == expected(table, stream=False)
    assert [line["model"] for line in live.logs("upstream_usage_ignored")] == ["absurd-usage"]


def test_streams_fail_as_the_page_says(live: Server, upstreams: World) -> None:
    table = BEFORE | STREAMED
    assert walk(live, upstreams, table, stream=True) == expected(table, stream=True)


@pytest.mark.parametrize("streamed", [False, True])
def test_fallback_answers_whatever_failed_before_the_first_byte(
    live: Server, upstreams: World, streamed: bool
) -> None:
    fallback = make_model("stand-in")
    make_route(fallback, upstreams.upstream, upstream_model="good")
    TenantFallback.objects.create(tenant=upstreams.tenant, model=fallback, position=1)
    begun = STREAMED if streamed else WHOLE
    table = BEFORE | {
        play: row
        for play, row in begun.items()
        if row.client != "answer" and not (streamed and row.charged != "nothing")
    }
    for play, (told, entry) in ask_all(live, upstreams, table, stream=streamed).items():
        *failures, last = entry.attempts
        outcomes = [attempt["outcome"] for attempt in failures]
        assert outcomes == [table[play].attempt.split()[0]] * tries(table[play]), play
        assert (last["model"], last["outcome"]) == ("stand-in", "ok")
        assert (told.outcome, entry.model, entry.model_reason) == (
            (200, None),
            "stand-in",
            "fallback",
        )
        assert (entry.input_tokens, entry.output_tokens, entry.usage_source) == (10, 6, "provider")


def test_nothing_falls_back_once_text_was_relayed(live: Server, upstreams: World) -> None:
    fallback = make_model("stand-in")
    make_route(fallback, upstreams.upstream, upstream_model="good")
    TenantFallback.objects.create(tenant=upstreams.tenant, model=fallback, position=1)
    table = {play: STREAMED[play] for play in HALF_A_STREAM}
    assert walk(live, upstreams, table, stream=True) == expected(table, stream=True)


class Seen(NamedTuple):
    """What became of a request."""

    status: int
    code: str | None
    attempts: list[tuple[str, bool]]
    tokens: tuple[int, int]
    source: str
    outcome: str


def expected(table: dict[str, Row], *, stream: bool) -> dict[str, Seen]:
    """What the page says, in the terms of a test."""
    return {play: _expected(play, row, stream) for play, row in table.items()}


def _expected(play: str, row: Row, stream: bool) -> Seen:
    given, made, source = ODD.get(play) or CHARGED[row.charged]
    answers = row.client == "answer"
    return Seen(
        status=200 if stream else STATUSES[row.client],
        code=None if answers else row.client,
        attempts=[(row.attempt, row.billed == "yes")] * tries(row),
        tokens=(given, made),
        source=source,
        outcome="ok" if answers else "error",
    )


def tries(row: Row) -> int:
    return 1 + int(settings.UPSTREAM_RETRIES) * (row.asked_again == "yes")


def walk(server: Server, world: World, table: dict[str, Row], *, stream: bool) -> dict[str, Seen]:
    """Ask for all plays at once; what became of each."""
    asked = ask_all(server, world, table, stream=stream)
    return {play: seen(told, entry) for play, (told, entry) in asked.items()}


def ask_all(
    server: Server, world: World, table: dict[str, Row], *, stream: bool
) -> dict[str, tuple[Ending, LedgerEntry]]:
    """What the client of each play got, and the entry of its request."""

    def ask(play: str) -> tuple[str, Ending]:
        response = server.chat(world.key, body(modelId=play, stream=stream))
        told = ending(response.status_code, response.text)
        if stream:
            assert told.frames[-1][0] == "done"
            assert (told.frames[-2][0] == "error") == (told.code is not None)
        return response.headers["x-request-id"], told

    with ThreadPoolExecutor(len(table)) as threads:
        answers = dict(zip(table, threads.map(ask, table), strict=True))
    written = {str(entry.id): entry for entry in settled(world.tenant, len(table))}
    return {play: (told, written[request_id]) for play, (request_id, told) in answers.items()}


def seen(told: Ending, entry: LedgerEntry) -> Seen:
    status, code = told.outcome
    return Seen(
        status=status,
        code=code,
        attempts=[
            (f"{attempt['outcome']} {attempt['status'] or ''}".strip(), attempt["maybeBilled"])
            for attempt in entry.attempts
        ],
        tokens=(entry.input_tokens, entry.output_tokens),
        source=entry.usage_source,
        outcome=entry.outcome,
    )
