"""The queue in front of a shared transaction: bounds, fairness, and a result for every caller."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from usage_app.group_commit import Bounds, GroupCommit, Overdue, Overloaded, unbounded


class Recorder:
    """A commit that notes its batches and waits, when told to, before it answers."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, rows: Sequence[str]) -> Sequence[str | BaseException]:
        self.batches.append(list(rows))
        await self.gate.wait()
        return [ValueError(row) if row.startswith("bad") else row.upper() for row in rows]


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def queue(recorder: Recorder, **options: Any) -> GroupCommit[str, str]:
    return GroupCommit(recorder, group=lambda row: row[-1], **options)


def test_calls_that_arrive_meanwhile_share_the_next_batch() -> None:
    async def main() -> None:
        recorder = Recorder()
        commits = queue(recorder)
        recorder.gate.clear()
        first = commits.submit("a1")
        await asyncio.sleep(0)
        rest = [commits.submit(row) for row in ("b1", "c1", "d1")]
        recorder.gate.set()
        assert await asyncio.gather(first, *rest) == ["A1", "B1", "C1", "D1"]
        assert recorder.batches == [["a1"], ["b1", "c1", "d1"]]

    run(main())


def test_bad_row_fails_its_own_caller_only() -> None:
    async def main() -> None:
        commits = queue(Recorder())
        futures = [commits.submit(row) for row in ("a1", "bad1", "c1")]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [results[0], results[2]] == ["A1", "C1"]
        assert isinstance(results[1], ValueError)

    run(main())


def test_commit_that_raises_fails_the_whole_batch_and_the_next_goes_on() -> None:
    async def main() -> None:
        failures = iter([RuntimeError("gone")])

        async def commit(rows: Sequence[str]) -> Sequence[str]:
            for failure in failures:
                raise failure
            return rows

        commits = GroupCommit[str, str](commit, group=lambda row: row)
        futures = [commits.submit(row) for row in ("a", "b")]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(result) for result in results] == [RuntimeError, RuntimeError]
        assert await commits.submit("c") == "c"

    run(main())


def test_groups_take_turns() -> None:
    async def main() -> None:
        recorder = Recorder()
        commits = queue(recorder, bounds=Bounds(batch=3))
        recorder.gate.clear()
        first = commits.submit("x0")
        await asyncio.sleep(0)
        rest = [commits.submit(row) for row in ("a1", "b1", "c1", "d1", "a2", "b2", "a3")]
        recorder.gate.set()
        await asyncio.gather(first, *rest)
        assert recorder.batches[1:] == [["a1", "a2", "a3"], ["b1", "b2", "c1"], ["d1"]]

    run(main())


def test_result_of_a_cancelled_caller_is_handed_over() -> None:
    async def main() -> None:
        left: list[str] = []
        commits = queue(Recorder(), abandoned=left.append)
        kept, gone = commits.submit("a1"), commits.submit("b1")
        gone.cancel()
        assert await kept == "A1"
        assert left == ["B1"]

    run(main())


def test_more_than_may_wait_are_refused() -> None:
    async def main() -> None:
        recorder = Recorder()
        commits = queue(recorder, bounds=Bounds(waiting=2))
        futures = [commits.submit("a1"), commits.submit("b1")]
        with pytest.raises(Overloaded):
            commits.submit("c1")
        await asyncio.gather(*futures)
        assert await commits.submit("c1") == "C1"

    run(main())


def test_nobody_joins_a_queue_that_does_not_move() -> None:
    async def main() -> None:
        recorder = Recorder()
        commits = queue(recorder, bounds=Bounds(age_seconds=0.02))
        recorder.gate.clear()
        futures = [commits.submit("a1")]
        await asyncio.sleep(0.03)
        futures.append(commits.submit("b1"))
        with pytest.raises(Overloaded):
            commits.submit("c1")
        recorder.gate.set()
        await asyncio.gather(*futures)

    run(main())


def test_drain_waits_for_what_is_queued_but_not_for_ever() -> None:
    async def main() -> None:
        recorder = Recorder()
        commits = queue(recorder)
        future = commits.submit("a1")
        assert await commits.drain(1)
        assert future.result() == "A1"
        recorder.gate.clear()
        stuck = commits.submit("b1")
        assert not await commits.drain(0.01)
        recorder.gate.set()
        await stuck

    run(main())


def test_result_that_comes_as_its_caller_is_cancelled_is_abandoned() -> None:
    async def main() -> None:
        abandoned: list[str] = []
        recorder = Recorder()

        async def commit(rows: Sequence[str]) -> Sequence[str | BaseException]:
            results = await recorder(rows)
            # In the same turn of the loop, before the caller hears of its result.
            asyncio.get_running_loop().call_soon(caller.cancel)
            return results

        commits: GroupCommit[str, str] = GroupCommit(
            commit, group=lambda row: row, abandoned=abandoned.append
        )
        caller = asyncio.ensure_future(commits.result("a"))
        await asyncio.wait([caller])
        assert caller.cancelled()
        assert abandoned == ["A"]

    run(main())


def test_callers_of_a_slow_batch_are_told_and_their_rows_are_written_all_the_same() -> None:
    async def main() -> None:
        recorder = Recorder()
        commits = queue(recorder, bounds=unbounded(patience_seconds=0.02))
        recorder.gate.clear()
        first = commits.submit("a1")
        await asyncio.sleep(0)
        behind = commits.submit("b1")
        results = await asyncio.gather(first, behind, return_exceptions=True)
        assert [type(result) for result in results] == [Overdue, Overdue]
        recorder.gate.set()
        assert await commits.drain(1)
        assert recorder.batches == [["a1"], ["b1"]]

    run(main())


def test_a_batch_runs_in_nobody_s_context() -> None:
    trace: ContextVar[str] = ContextVar("trace", default="nobody's")
    seen: list[str] = []

    async def commit(rows: Sequence[str]) -> Sequence[str]:
        seen.append(trace.get())
        return rows

    async def main() -> None:
        trace.set("the first one's")
        await GroupCommit(commit, group=len).submit("row")

    run(main())
    assert seen == ["nobody's"]
