"""Concurrent calls in one process share a transaction: while one batch is in flight, the next one
gathers.

Owns the queue, its bounds and its fairness between tenants. What a batch does to the database is
the caller's `commit`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")


class Overloaded(Exception):
    """More calls are waiting, or have waited longer, than the queue's bounds allow."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`waiting` calls at most, the oldest for `age_seconds` at most; `batch` rows share one
    transaction.
    """

    batch: int = 128
    waiting: int = 2_000
    age_seconds: float = 1.0


UNBOUNDED = Bounds(waiting=2**62, age_seconds=float("inf"))


class GroupCommit(Generic[Row, Result]):
    """Runs `commit(rows)` for all that gathered, one batch at a time, on tasks of its own.

    `commit` answers with one result or exception for each row, in order; what it raises goes to
    every caller of the batch. Every future is resolved on every path. A result whose caller was
    cancelled meanwhile goes to `abandoned`. Callers of one `group` (a tenant) take turns with the
    others'.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Row]], Awaitable[Sequence[Result | BaseException]]],
        *,
        group: Callable[[Row], Hashable],
        abandoned: Callable[[Result], None] | None = None,
        bounds: Bounds = Bounds(),
    ) -> None:
        self._commit = commit
        self._abandoned = abandoned
        self._group = group
        self._bounds = bounds
        self._queues: dict[Hashable, deque[tuple[Row, asyncio.Future[Result], float]]] = {}
        self._waiting = 0
        self._worker: asyncio.Task[None] | None = None

    def submit(self, row: Row) -> asyncio.Future[Result]:
        """Queue a row, before any await; the future ends with its own result. Raises Overloaded."""
        now = monotonic()
        if (
            self._waiting >= self._bounds.waiting
            or self._oldest_age(now) > self._bounds.age_seconds
        ):
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queues.setdefault(self._group(row), deque()).append((row, future, now))
        self._waiting += 1
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return future

    async def drain(self) -> None:
        """Wait until nothing is queued or in flight."""
        while self._worker is not None:
            await asyncio.wait([self._worker])

    @property
    def waiting(self) -> int:
        return self._waiting

    def _oldest_age(self, now: float) -> float:
        if not self._waiting:
            return 0.0
        return now - min(queue[0][2] for queue in self._queues.values())

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._run_batch()
        finally:
            self._worker = None

    async def _run_batch(self) -> None:
        rows, futures = self._take_batch()
        results: Sequence[Result | BaseException]
        try:
            results = await self._commit(rows)
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - whatever went wrong, no caller may wait for ever
            results = [error] * len(rows)
        for future, result in zip(futures, results, strict=True):
            self._resolve(future, result)

    def _resolve(self, future: asyncio.Future[Result], result: Result | BaseException) -> None:
        if isinstance(result, BaseException):
            if not future.done():
                future.set_exception(result)
        elif not future.done():
            future.set_result(result)
        elif self._abandoned is not None:
            self._abandoned(result)

    def _take_batch(self) -> tuple[list[Row], list[asyncio.Future[Result]]]:
        """The next rows, one of each group in turn."""
        rows: list[Row] = []
        futures: list[asyncio.Future[Result]] = []
        while self._queues and len(rows) < self._bounds.batch:
            group = next(iter(self._queues))
            queue = self._queues.pop(group)
            row, future, _ = queue.popleft()
            rows.append(row)
            futures.append(future)
            if queue:
                self._queues[group] = queue
        self._waiting -= len(rows)
        return rows, futures
