"""The books on the request path: `reserve` takes a durable hold or refuses, `settle` ends it in
exactly one entry.

With `ledger_sync` and `ledger_corrections` the only writer of windows, holds and entries. Calls of
one process share transactions (group commit); one `Ledger` lives per event loop and beats its
process's heart while any hold may be open.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

import orjson
import psycopg
import structlog
from psycopg_pool import PoolTimeout

from tenants_app.database import Connection, pool, retried
from tenants_app.errors import InternalError, ServiceUnavailable
from tenants_app.snapshots import Caller
from usage_app import ledger_batches as batches
from usage_app import ledger_sql as sql
from usage_app.admission import Refusal
from usage_app.errors import ConfigurationChanged, refused
from usage_app.group_commit import GroupCommit, Overdue, Overloaded, unbounded
from usage_app.holds import BudgetState, Hold, Settlement, Wish, release, unconfirmed
from usage_app.scopes import Scopes

HEARTBEAT_SECONDS = 5.0
SETTLE_WAIT_SECONDS = 10.0
DRAIN_SECONDS = 10.0

_DATABASE_AWAY = (psycopg.OperationalError, PoolTimeout)

log = structlog.get_logger(__name__)
T = TypeVar("T")


async def reserve(wish: Wish) -> Hold:
    """Take a hold on every window that applies to the wish, durable when this returns.

    Whether there is room is `admission.decide`'s word, asked by `ledger_batches` under the locks.
    Raises RateLimited or BudgetExceeded (refused), ConfigurationChanged (the caller's snapshot is
    out of date: begin again) or ServiceUnavailable. A caller that is cancelled meanwhile leaves no
    hold behind.
    """
    return await current().reserve(wish)


async def settle(hold: Hold, settlement: Settlement) -> BudgetState | None:
    """End the hold in its ledger entry; the tightest budget afterwards, or None without one.

    The row is queued before the first await, so it is written even if the caller is cancelled.
    Repeated, it changes nothing. Raises ServiceUnavailable when the entry is not durable within
    `SETTLE_WAIT_SECONDS` (it is still tried for), and InternalError when the database refuses it
    (the hold is left to the sweep).
    """
    return await current().settle(hold, settlement)


def count_refusal(caller: Caller, code: str) -> None:
    """Count a refused request, for the operator's question why; written with the next heartbeat."""
    current().refusals[caller.tenant.id, caller.key.id if caller.key else None, code] += 1


def current() -> "Ledger":
    """The running event loop's ledger."""
    loop = asyncio.get_running_loop()
    found = _ledgers.get(loop)
    if found is None:
        found = _ledgers[loop] = Ledger()
    return found


class Ledger:
    """One process's queues, open holds and heartbeat."""

    def __init__(self) -> None:
        self.process_id = uuid4()
        self.open_holds: dict[UUID, Hold] = {}
        self.refusals: Counter[tuple[int, int | None, str]] = Counter()
        self._scopes = Scopes()
        self._heart: asyncio.Task[None] | None = None
        self._is_known = False
        self._reserving = GroupCommit[Wish, Hold | Refusal](
            self._reserve_batch,
            group=lambda wish: wish.caller.tenant.id,
            abandoned=self._release_abandoned,
        )
        self._settling = GroupCommit[tuple[Hold, bytes], batches.Counters](
            self._settle_batch,
            group=lambda row: row[0].tenant_id,
            bounds=unbounded(SETTLE_WAIT_SECONDS),
        )

    async def reserve(self, wish: Wish) -> Hold:
        try:
            verdict = await self._reserving.result(wish)
        except (Overloaded, Overdue):
            raise ServiceUnavailable("Too many requests are waiting.") from None
        if isinstance(verdict, Refusal):
            raise refused(verdict)
        return verdict

    async def settle(self, hold: Hold, settlement: Settlement) -> BudgetState | None:
        try:
            counters = await self._submit(hold, settlement)
        except Overdue:
            raise ServiceUnavailable("The books can't be written at the moment.") from None
        hold.budgets = [_as_of(counters, budget) for budget in hold.budgets]
        return hold.tightest

    def open(self) -> None:
        """Begin to beat, so that operators see this process, and its refusals, from the start."""
        if self._heart is None:
            self._heart = asyncio.get_running_loop().create_task(self._keep_beating())

    async def close(self) -> None:
        """Drain both queues, beat once more and stop. What is open then is left to the sweep."""
        await self._reserving.drain(DRAIN_SECONDS)
        await self._settling.drain(DRAIN_SECONDS)
        if self._heart is not None:
            # More than once: wait_for, so psycopg, may swallow a cancellation before Python 3.12.
            while not self._heart.done():
                self._heart.cancel()
                await asyncio.wait([self._heart], timeout=0.1)
            await self._beat_or_log()
        if self.open_holds or self._settling.waiting:
            log.warning(
                "ledger_closed_early",
                holds=len(self.open_holds),
                unsettled=self._settling.waiting,
            )

    def _submit(self, hold: Hold, settlement: Settlement) -> asyncio.Future[batches.Counters]:
        self.open_holds.pop(hold.request_id, None)
        future = self._settling.submit((hold, orjson.dumps(settlement.as_row(hold))))
        future.add_done_callback(_look_at)
        return future

    # --- the batches ------------------------------------------------------------------------------

    async def _reserve_batch(
        self, wishes: Sequence[Wish]
    ) -> Sequence[Hold | Refusal | BaseException]:
        try:
            await self._alive()
            results = await _twice(lambda: self._try_reserve(wishes))
        except batches.CommitUnknown:
            for wish in wishes:
                self._release_unknown(wish)
            return [ServiceUnavailable()] * len(wishes)
        except _DATABASE_AWAY as error:
            log.warning("ledger_unavailable", error=type(error).__name__)
            return [ServiceUnavailable()] * len(wishes)
        except psycopg.Error as error:
            if len(wishes) > 1:
                return [(await self._reserve_batch([wish]))[0] for wish in wishes]
            if isinstance(error, psycopg.errors.ForeignKeyViolation):
                return [ConfigurationChanged()]  # its tenant or key is gone
            _log_failed_reserve(wishes[0], error)
            return [InternalError()]
        for result in results:
            if isinstance(result, Hold):
                self.open_holds[result.request_id] = result
        return results

    async def _try_reserve(
        self, wishes: Sequence[Wish]
    ) -> Sequence[Hold | Refusal | BaseException]:
        for _ in range(3):
            async with pool().connection() as connection:
                await self._scopes.ensure(connection, (wish.caller for wish in wishes))
                try:
                    return await batches.reserve(connection, wishes, self._scopes, self.process_id)
                except batches.PeriodEnded:
                    self._scopes.forget(wish.caller for wish in wishes)
        return [ServiceUnavailable()] * len(wishes)

    async def _settle_batch(
        self, rows: Sequence[tuple[Hold, bytes]]
    ) -> Sequence[batches.Counters | BaseException]:
        try:
            return [await _insist(lambda db: batches.settle(db, rows))] * len(rows)
        except Exception as error:  # noqa: BLE001 - no row may take the others' settlements with it
            return await self._bisect(rows, error)

    async def _bisect(
        self, rows: Sequence[tuple[Hold, bytes]], error: BaseException
    ) -> Sequence[batches.Counters | BaseException]:
        if len(rows) > 1:
            middle = len(rows) // 2
            first = await self._settle_batch(rows[:middle])
            return [*first, *await self._settle_batch(rows[middle:])]
        request_id = rows[0][0].request_id
        log.error("settle_failed", error=str(error), requestId=str(request_id))
        await _insist(lambda db: db.execute(sql.ABANDON, [[request_id]]))
        return [InternalError()]

    # --- holds nobody waits for -------------------------------------------------------------------

    def _release_abandoned(self, verdict: Hold | Refusal) -> None:
        if isinstance(verdict, Hold):
            self._submit(verdict, release(verdict))

    def _release_unknown(self, wish: Wish) -> None:
        """Its commit may have happened. Should the hold exist when the database is back, it is
        released.
        """
        scopes = self._scopes.find(wish.caller) or ()
        hold = unconfirmed(wish, [row for scope in scopes for row in scope.window_ids.values()])
        self._submit(hold, release(hold, error_code="service_unavailable"))

    # --- the heart --------------------------------------------------------------------------------

    async def _alive(self) -> None:
        """Before the first hold: this process must be known, or the sweep would take the hold at
        once.
        """
        if not self._is_known:
            await self._beat()
        self.open()

    async def _keep_beating(self) -> None:
        while True:
            await self._beat_or_log()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _beat_or_log(self) -> None:
        try:
            await self._beat()
        except Exception as error:  # noqa: BLE001 - the heart goes on, whatever happened to a beat
            log.warning("heartbeat_failed", error=type(error).__name__)

    async def _beat(self) -> None:
        """Keep all holds alive, write down how far each open stream got, and count the refusals
        since the last beat.
        """
        streams = [
            {
                "id": hold.request_id,
                "output": hold.streamed_output_tokens,
                "model": hold.model,
                "model_reason": hold.model_reason,
                "upstream": hold.upstream,
                "price_id": hold.price_id,
            }
            for hold in self.open_holds.values()
            if hold.streamed_output_tokens is not None
        ]

        async def beat(connection: Connection) -> None:
            name = (self.process_id, socket.gethostname(), os.getpid())
            await connection.execute(sql.HEARTBEAT, name)
            if streams:
                ids = [stream["id"] for stream in streams]
                await connection.execute(sql.CHECKPOINT, [orjson.dumps(streams).decode(), ids])
            await self._write_refusals(connection)

        await retried(beat)
        self._is_known = True

    async def _write_refusals(self, connection: Connection) -> None:
        counted, self.refusals = self.refusals, Counter()
        if not counted:
            return
        rows = [
            {"tenant_id": tenant, "api_key_id": key, "code": code, "refusals": count}
            for (tenant, key, code), count in counted.items()
        ]
        try:
            await connection.execute(sql.COUNT_REFUSALS, [orjson.dumps(rows).decode()])
        except _DATABASE_AWAY:
            self.refusals += counted
            raise
        except psycopg.Error as error:
            log.warning("refusals_lost", error=str(error), refusals=counted.total())


_ledgers: WeakKeyDictionary[asyncio.AbstractEventLoop, Ledger] = WeakKeyDictionary()


async def _twice(attempt: Callable[[], Awaitable[T]]) -> T:
    """Once more after the connection was lost before a commit; waiting for a lock again would only
    add to the queue.
    """
    try:
        return await attempt()
    except (psycopg.errors.LockNotAvailable, PoolTimeout):
        raise
    except psycopg.OperationalError:
        await pool().check()
        return await attempt()


async def _insist(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do it on a connection as soon as the database lets us, however long it is away."""
    delay = 0.05
    while True:
        try:
            async with pool().connection() as connection:
                return await work(connection)
        except _DATABASE_AWAY as error:
            log.warning("settle_delayed", error=type(error).__name__)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 1.0)
            await pool().check()


def _as_of(counters: batches.Counters, budget: BudgetState) -> BudgetState:
    found = counters.get(budget.window_id)
    if found is None:
        return budget
    used, held = found
    return replace(budget, used=used[budget.metric], held=held[budget.metric])


def _log_failed_reserve(wish: Wish, error: psycopg.Error) -> None:
    """A batch is nobody's request, so the line says whose it is."""
    log.error(
        "reserve_failed",
        tenantId=wish.caller.tenant.slug,
        traceId=wish.trace_id,
        requestId=str(wish.request_id),
        error=str(error),
    )


def _look_at(future: asyncio.Future[batches.Counters]) -> None:
    """Its caller may be gone; what went wrong has been logged."""
    if not future.cancelled():
        future.exception()
