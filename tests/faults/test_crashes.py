"""A web process that is killed, paused or told to stop loses no hold and charges none twice."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import httpx
import pytest

from tests.factories import make_budget
from tests.faults.books import entries, settled, sweep, wait_for_holds
from tests.faults.conftest import World
from tests.faults.crowd import Ending, body, ending
from tests.live import Server, Servers, eventually
from usage_app import story
from usage_app.models import LedgerEntry, Reservation

pytestmark = pytest.mark.xdist_group("faults")

STREAM = body(modelId="paced-2000-50", stream=True)
WAITING = body(modelId="slow-head")


def ask(server: Server, world: World, asked: dict[str, object]) -> Ending:
    """One request, whose connection may be cut in its midst."""
    text, status = "", 0
    headers = {"authorization": f"Bearer {world.key.secret}"}
    try:
        with server.client.stream("POST", "/chat", json=asked, headers=headers) as response:
            status = response.status_code
            for part in response.iter_text():
                text += part
    except httpx.TransportError:
        return Ending(status)
    return ending(status, text)


@contextmanager
def asking(
    server: Server, world: World, bodies: Sequence[dict[str, object]]
) -> Iterator[list[Future[Ending]]]:
    """The requests, all admitted when the block begins and all at an end when it is left."""
    with ThreadPoolExecutor(len(bodies)) as threads:
        futures = [threads.submit(ask, server, world, asked) for asked in bodies]
        wait_for_holds(world.tenant, len(bodies))
        yield futures
        wait(futures, 30)


def told(entry: LedgerEntry) -> str:
    """The steps of the story, in which nothing claims to know when the process died."""
    steps = story.tell(entry)
    assert not [step for step in steps if step.when.startswith("after")]
    return " ".join(step.told for step in steps)


def streamed_so_far() -> list[int]:
    found = Reservation.objects.exclude(streamed_output_tokens=None)
    return sorted(found.values_list("streamed_output_tokens", flat=True))


def test_killed_process_leaves_holds_that_the_sweep_settles(servers: Servers, acme: World) -> None:
    (server,) = servers.start(heartbeat_seconds=0.2)
    (slow,) = servers.start(heartbeat_seconds=60)
    make_budget(acme.tenant, "tokens", "day", 100_000)
    with asking(server, acme, [STREAM] * 3 + [WAITING] * 2):
        with slow.streaming(acme.key, STREAM) as early:
            texts = early.iter_text()  # Unreferenced, it would hang up.
            assert next(texts).startswith("data: ")
            slow.kill()
        assert eventually(lambda: min(streamed_so_far(), default=0) > 2, seconds=20)
        server.kill()
    left = {hold.id: hold for hold in wait_for_holds(acme.tenant, 6)}

    sweep(6)

    written = settled(acme.tenant, 6)
    assert {(entry.outcome, entry.usage_source) for entry in written} == {("expired", "expired")}
    for entry in written:
        hold = left.pop(entry.id)
        if hold.streamed_output_tokens is None:
            assert entry.input_tokens == hold.held_input_tokens == 13
            assert entry.total_tokens == hold.held_tokens == 13 + 1024
            assert "in full, as held" in told(entry)
        else:
            assert (entry.input_tokens, entry.held_tokens) == (2, hold.held_tokens)
            assert entry.output_tokens == hold.streamed_output_tokens > 2
            assert "what the last heartbeat had written down" in told(entry)
    assert len([entry for entry in written if entry.input_tokens == 2]) == 3
    (unwritten,) = (entry for entry in written if entry.stream and entry.input_tokens == 13)
    assert "no heartbeat had written down yet that it streams" in told(unwritten)


def test_settlement_after_the_sweep_becomes_an_adjustment(servers: Servers, acme: World) -> None:
    (server,) = servers.start(heartbeat_seconds=0.2)
    make_budget(acme.tenant, "tokens", "day", 100_000)
    with asking(server, acme, [body(modelId="paced-40-50", stream=True)]) as (answer,):
        assert eventually(lambda: min(streamed_so_far(), default=0) > 2, seconds=20)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            sweep(1)
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
    (expired,) = entries(acme.tenant, kind="usage")

    done = answer.result().frames[-1][1]
    assert (done["usage"]["tokensIn"], done["usage"]["tokensOut"]) == (10, 40)
    (late,) = entries(acme.tenant, kind="adjustment")
    assert (late.corrects, late.created_at) == (expired.id, expired.created_at)
    assert expired.input_tokens + late.input_tokens == 10
    assert expired.output_tokens + late.output_tokens == 40
    settled(acme.tenant, 2)


def test_process_that_is_told_to_stop_ends_its_streams_and_settles(
    servers: Servers, acme: World
) -> None:
    (server,) = servers.start(graceful_seconds=1)
    # It outlasts the signal, but not the time it is given.
    short = body(modelId="paced-10-50", stream=True)
    with asking(server, acme, [STREAM] * 20 + [WAITING] * 2 + [short]) as answers:
        assert server.terminate() == -signal.SIGTERM
    settled(acme.tenant, 23)

    *streams, first, second, last = [answer.result() for answer in answers]
    for each in streams:
        assert (each.status, each.code) == (200, "service_unavailable")
        assert [event for event, _ in each.frames[-2:]] == ["error", "done"]
        assert each.frames[-1][1]["usage"]["tokensIn"] == 2
    assert last.code is None
    assert last.frames[-1][1]["usage"]["tokensOut"] == 10
    assert {first.outcome, second.outcome} == {(503, "service_unavailable")}
    assert len(entries(acme.tenant, outcome="aborted", usage_source="partial")) == 20
    waiting = entries(acme.tenant, model="slow-head")
    assert [(entry.total_tokens, entry.outcome) for entry in waiting] == [(0, "aborted")] * 2
    assert [attempt["maybeBilled"] for entry in waiting for attempt in entry.attempts] == [True] * 2
    assert not server.logs("ledger_closed_early")
