"""Concurrent calls in one process share a transaction: while one batch is in flight, the next one
gathers.

Owns the queue, its bounds and its fairness between tenants. What a batch does to the database is
the caller's `commit`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Generic, TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")


class Overloaded(Exception):
    """More calls are waiting, or have waited longer, than the queue's bounds allow."""


class Overdue(Exception):
    """The batch takes longer than its callers wait for it. It is still under way."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`waiting` calls at most, behind a batch that takes `age_seconds` at most; `batch` rows share
    one transaction; callers wait `patience_seconds` for a batch to end.
    """

    batch: int = 128
    waiting: int = 2_000
    age_seconds: float = 1.0
    patience_seconds: float = 30.0


def unbounded(patience_seconds: float) -> Bounds:
    """For what must be written: nobody is refused."""
    return Bounds(waiting=2**62, age_seconds=inf, patience_seconds=patience_seconds)


class GroupCommit(Generic[Row, Result]):
    """Runs `commit(rows)` for all that gathered, one batch at a time, on tasks of its own.

    `commit` answers with one result or exception for each row, in order; what it raises goes to
    every caller of the batch. Every future is resolved on every path, with Overdue where `commit`
    takes too long. A result whose caller was cancelled meanwhile goes to `abandoned`. Callers of
    one `group` (a tenant) take turns with the others'.
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
        self._queues: dict[Hashable, deque[tuple[Row, asyncio.Future[Result]]]] = {}
        self._waiting = 0
        self._taken_at = 0.0
        self._worker: asyncio.Task[None] | None = None

    def submit(self, row: Row) -> asyncio.Future[Result]:
        """Queue a row, before any await; the future ends as `result` does. Raises Overloaded."""
        if self._waiting >= self._bounds.waiting or self._is_stuck():
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queues.setdefault(self._group(row), deque()).append((row, future))
        self._waiting += 1
        if self._worker is None:
            self._taken_at = monotonic()
            # Not in the context of whoever came first: log lines would carry its tenant and trace.
            self._worker = loop.create_task(self._work(), context=Context())
        return future

    async def result(self, row: Row) -> Result:
        """Queue a row and wait for its result. Raises Overloaded, Overdue, or the row's error.

        A caller who is cancelled in the very moment its result comes leaves it to `abandoned`, too.
        """
        future = self.submit(row)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._resolve(future, future.result())
            raise

    async def drain(self, timeout_seconds: float) -> bool:
        """Wait until nothing is queued or in flight; False when that took too long."""
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=timeout_seconds)
        return self._worker is None

    @property
    def waiting(self) -> int:
        return self._waiting

    def _is_stuck(self) -> bool:
        """Whether calls wait behind a batch that is longer under way than they are to wait."""
        return self._waiting > 0 and monotonic() - self._taken_at > self._bounds.age_seconds

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._run_batch()
        finally:
            self._worker = None

    async def _run_batch(self) -> None:
        rows, futures = self._take_batch()
        results: Sequence[Result | BaseException]
        # One timer a batch is what makes waiting with a deadline cheap.
        loop = asyncio.get_running_loop()
        patience = loop.call_later(self._bounds.patience_seconds, self._lose_patience, futures)
        try:
            results = await self._commit(rows)
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - whatever went wrong, no caller may wait for ever
            results = [error] * len(rows)
        finally:
            patience.cancel()
        for future, result in zip(futures, results, strict=True):
            self._resolve(future, result)

    def _lose_patience(self, futures: Sequence[asyncio.Future[Result]]) -> None:
        """Those behind the batch would wait even longer: they are told too. Their rows stay."""
        queued = [future for queue in self._queues.values() for _, future in queue]
        for future in (*futures, *queued):
            if not future.done():
                future.set_exception(Overdue())

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
            row, future = queue.popleft()
            rows.append(row)
            futures.append(future)
            if queue:
                self._queues[group] = queue
        self._waiting -= len(rows)
        self._taken_at = monotonic()
        return rows, futures
