"""`./dev run --local-model`: a conversation with a real model, and what its own counters say of it.

Skipped where the model's packages are not installed and cannot be.
"""

from __future__ import annotations

import contextlib
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from chat_app.tokens import TOKENS_PER_MESSAGE
from gateway_project.embedded import home, local_model
from tests.journeys.dev_run import Run, free_port, processes_of
from tests.live import eventually, frames

FETCH_SECONDS = 280
MODEL_LINE = re.compile(r"\nModel: smollm2-135m-instruct, by llama\.cpp at (http://\S+)/v1\n")
# Without end at temperature 0: it comes to the cap, wherever that is.
ENDLESS = "Write all even numbers from 2 to 2000, separated by commas."
LONG = {"message": ENDLESS, "temperature": 0, "maxTokens": 1000}

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("journeys"),
]


@dataclass
class Journey:
    """A running `./dev run --local-model`, seen as a client, at the model, and in the books."""

    run: Run
    gateway: httpx.Client
    model: httpx.Client
    database: psycopg.Connection[tuple[Any, ...]]

    def chat(self, **body: Any) -> dict[str, Any]:
        """A whole answer's data."""
        answer = self.gateway.post("/chat", json=call(body) | {"stream": False})
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def stream(self, **body: Any) -> tuple[str, dict[str, Any]]:
        """A streamed answer: its text, and its `done`."""
        *parts, (event, done) = frames(self.gateway.post("/chat", json=call(body)).text)
        assert event == "done"
        return "".join(data["content"] for _, data in parts), done

    def entry(self) -> dict[str, Any]:
        """The newest entry of the ledger, once all is settled."""
        assert eventually(lambda: not self.rows("SELECT 1 FROM usage_app_reservation"))
        newest = "SELECT * FROM usage_app_ledgerentry ORDER BY created_at DESC LIMIT 1"
        return self.rows(newest)[0]

    def rows(self, query: str) -> list[dict[str, Any]]:
        cursor = self.database.execute(query)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def processing(self) -> int:
        """How many answers llama.cpp is at work on, by its own account."""
        return sum(slot["is_processing"] for slot in self.model.get("/slots").json())

    def counted(self) -> tuple[int, int]:
        """Tokens in and out since the model's start, by its own account."""
        page = self.model.get("/metrics").text
        found = dict(re.findall(r"^llamacpp:(\w+)_total (\d+)$", page, re.MULTILINE))
        read = int(found["prompt_tokens"]) + int(found["prompt_tokens_cached"])
        return read, int(found["tokens_predicted"])


def call(body: dict[str, Any]) -> dict[str, Any]:
    return {"sessionId": str(uuid4()), "message": "Hello", **body}


@pytest.fixture(scope="module")
def journey() -> Iterator[Journey]:
    with tempfile.TemporaryDirectory(prefix="tollgate-test-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        place = Path(folder) / "home"
        run = Run(place, free_port(), "--local-model", OPENAI_API_KEY="sk-unused-0123456789")
        try:
            with meet(run) as met:
                yield met
        finally:
            stop(run)
            for process in processes_of(place):
                process.kill()


def stop(run: Run) -> int:
    """Its exit status; a test that failed may have left it running."""
    status = run.process.poll()
    return run.stop(signal.SIGINT) if status is None else status


@contextlib.contextmanager
def meet(run: Run) -> Iterator[Journey]:
    """Wait until it answers, then speak to it."""
    try:
        start = run.greeting(FETCH_SECONDS)
    except pytest.fail.Exception:
        log = run.log.read_text()
        if "the local model could not be installed" in log:
            pytest.skip(log)
        raise
    named = MODEL_LINE.search(run.log.read_text())
    assert named
    key, model_key = start["key"], home.read_secrets(run.place)["local_model_key"]
    with (
        client(start["url"], key) as gateway,
        client(named[1], model_key) as model,
        psycopg.connect(home.postgres(run.place).url(), autocommit=True) as database,
    ):
        yield Journey(run, gateway, model, database)


def client(url: str, key: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60)


def test_start_says_which_upstream_is_not_used(journey: Journey) -> None:
    said = "OPENAI_API_KEY is not used: --local-model serves the demo tenant.\n"
    assert said in journey.run.log.read_text()


@pytest.mark.parametrize("streamed", [True, False])
def test_what_the_model_counts_is_what_is_charged(journey: Journey, streamed: bool) -> None:
    before = journey.counted()
    asked = {"message": "What colour is a lemon?", "maxTokens": 60}
    if streamed:
        text, done = journey.stream(**asked)
    else:
        done = journey.chat(**asked)
        text = done["message"]
    read, written = (now - then for now, then in zip(journey.counted(), before, strict=True))
    assert text.strip()
    usage = done["usage"]
    assert (usage["modelId"], usage["usageSource"]) == (local_model.MODEL_ID, "provider")
    assert (usage["tokensIn"], usage["tokensOut"]) == (read, written)

    entry = journey.entry()
    assert (entry["input_tokens"], entry["output_tokens"]) == (read, written)
    assert (entry["upstream"], entry["usage_source"]) == ("local-model", "provider")
    assert (entry["outcome"], entry["stream"]) == ("ok", streamed)
    assert entry["cost"] == (read * Decimal("0.02") + written * Decimal("0.06")) / 1_000_000


def test_model_stops_where_it_is_told_to(journey: Journey) -> None:
    answer = journey.chat(**LONG | {"maxTokens": 17})
    assert (answer["usage"]["tokensOut"], answer["finishReason"]) == (17, "length")


def test_model_stops_where_the_budget_ends(journey: Journey) -> None:
    budget = 'UPDATE tenants_app_budget SET "limit" = %s WHERE (metric, period) = (%s, %s)'
    used = journey.gateway.get("/budgets").json()["data"]["budgets"][0]["used"]
    room = len(ENDLESS) + 8 + 20
    journey.database.execute(budget, [used + room, "tokens", "day"])
    try:
        answer = journey.chat(message=ENDLESS, temperature=0)
    finally:
        journey.database.execute(budget, [1_000_000, "tokens", "day"])
    assert (answer["usage"]["tokensOut"], answer["finishReason"]) == (20, "length")


def test_prompt_is_no_more_than_was_held_for_it(journey: Journey) -> None:
    """Of a short one most is the template: a system prompt that it adds would overspend."""
    session, first = str(uuid4()), "Hi"
    answer = journey.chat(sessionId=session, message=first, maxTokens=5)
    assert answer["usage"]["tokensIn"] <= len(first) + TOKENS_PER_MESSAGE
    said = [first, answer["message"], "So"]
    usage = journey.chat(sessionId=session, message="So", maxTokens=5)["usage"]
    assert usage["tokensIn"] <= sum(len(text.encode()) + TOKENS_PER_MESSAGE for text in said)


def test_second_turn_remembers_the_first(journey: Journey) -> None:
    session = str(uuid4())
    first = journey.chat(sessionId=session, message="My name is Ada.", maxTokens=30)
    second = journey.chat(sessionId=session, message="What is my name?", maxTokens=30)
    assert second["usage"]["tokensIn"] > first["usage"]["totalTokens"]


def test_answers_are_written_at_the_same_time(journey: Journey) -> None:
    most, over = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, journey.processing())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: journey.stream(**LONG | {"maxTokens": 40}), range(3)))
    over.set()
    watcher.join()
    assert [done["usage"]["tokensOut"] for _, done in answers] == [40] * 3
    assert most >= 2


def test_model_stops_within_a_second_when_the_client_leaves(journey: Journey) -> None:
    with journey.gateway.stream("POST", "/chat", json=call(LONG)) as answer:
        lines = (line for line in answer.iter_lines() if line)
        for _ in range(5):
            next(lines)
        assert journey.processing() == 1
    left = time.monotonic()
    assert eventually(lambda: not journey.processing(), seconds=10)
    assert time.monotonic() - left < 1
    entry, written = journey.entry(), journey.counted()
    assert (entry["outcome"], entry["usage_source"]) == ("aborted", "partial")
    assert entry["output_tokens"] < 100
    time.sleep(0.3)
    assert journey.counted() == written


def test_model_drops_a_prompt_whose_client_left(journey: Journey) -> None:
    before = journey.counted()
    words = " ".join(f"{number} bottles" for number in range(800))
    leaves = httpx.Timeout(60, read=1.0)
    with (
        pytest.raises(httpx.ReadTimeout),
        journey.gateway.stream(
            "POST", "/chat", json=call({"message": words}), timeout=leaves
        ) as answer,
    ):
        answer.read()
    assert journey.processing() == 1
    # Here llama.cpp looks for the client after each second in which nobody asked it anything.
    time.sleep(2.5)
    assert journey.processing() == 0
    assert journey.counted()[1] == before[1]
    entry = journey.entry()
    assert (entry["outcome"], entry["output_tokens"]) == ("aborted", 0)


def test_no_word_of_a_conversation_is_logged(journey: Journey) -> None:
    asked = {"message": "Say something about xylophones.", "maxTokens": 30}
    streamed, _ = journey.stream(**asked)
    whole = journey.chat(**asked)["message"]
    log = journey.run.log.read_text()
    assert [text for text in ("xylophone", streamed[:20], whole[:20]) if text in log] == []


def test_model_ends_with_its_run_and_starts_again_at_once(journey: Journey) -> None:
    """The last one: it kills the run of the others."""
    place = journey.run.place
    journey.run.stop(signal.SIGKILL)
    asked = time.monotonic()
    again = Run(place, free_port(), "--local-model")
    try:
        with meet(again) as second:
            assert time.monotonic() - asked < 60
            assert "fetching" not in again.log.read_text()
            assert sum("embedded.child model" in command for command in again.processes()) == 1
            assert second.chat(**LONG | {"maxTokens": 5})["usage"]["tokensOut"] == 5
    finally:
        status = stop(again)
    assert status == 0
    assert again.processes() == []
