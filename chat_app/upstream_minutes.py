"""What became of the calls to each upstream, counted by the minute for operators to see.

Counted in the process and written every few seconds, beside the requests and never in their way; it
is no part of the books, and what a process had not written when it was killed is missing.
"""

import asyncio
import time
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from chat_app.attempts import Attempt
from tenants_app.database import Connection, retried

WRITE_EVERY_SECONDS: Final = 5.0
# Of a minute's outcomes; beyond it, without a database for long, the newest are not counted.
WAITING_MAX: Final = 10_000
# An answer that had begun, and so was counted as ok, and broke off.
CUT_OFF: Final = "cut_off"

_ADD = """
INSERT INTO chat_app_upstreamminute
    (upstream_id, minute, outcome, calls, latency_ms, status, message)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (upstream_id, minute, outcome) DO UPDATE
SET calls = chat_app_upstreamminute.calls + excluded.calls,
    latency_ms = chat_app_upstreamminute.latency_ms + excluded.latency_ms,
    status = excluded.status, message = excluded.message
"""

# Upstream, minute since the epoch, outcome.
Key = tuple[int, int, str]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Count:
    """Calls that ended alike within one minute, and how the last of them did."""

    calls: int = 0
    latency_ms: int = 0  # of all together
    status: int | None = None
    message: str = ""


class UpstreamMinutes:
    """What one event loop has counted and not yet written."""

    def __init__(self) -> None:
        self._counts: dict[Key, Count] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None

    def note(self, upstream_id: int, attempt: Attempt, message: str = "") -> None:
        """Count one attempt; `message` is what a failure said, redacted. Never waits."""
        self._count(upstream_id, attempt.outcome, attempt, message)

    def note_cut(self, upstream_id: int, attempt: Attempt, message: str) -> None:
        """Count an answer that broke off after it had begun."""
        self._count(upstream_id, CUT_OFF, attempt, message)

    async def aclose(self) -> None:
        """Write what is left."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writer is not None:
            await self._writer
        await self._write()

    def _count(self, upstream_id: int, outcome: str, attempt: Attempt, message: str) -> None:
        key = upstream_id, int(time.time() // 60), outcome
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= WAITING_MAX:
                return
            count = self._counts[key] = Count()
            self._schedule()
        count.calls += 1
        count.latency_ms += attempt.latency_ms
        count.status = attempt.status
        count.message = message

    def _schedule(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            # No request's task: what it logs must not carry the trace of whoever came last.
            self._timer = loop.call_later(WRITE_EVERY_SECONDS, self._begin, context=Context())

    def _begin(self) -> None:
        self._timer = None
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())
        else:
            self._schedule()

    async def _write(self) -> None:
        counts, self._counts = self._counts, {}
        if not counts:
            return
        # In one order, so that two processes never wait for each other's rows.
        rows = [_row(key, counts[key]) for key in sorted(counts)]
        try:
            await retried(lambda db: _add(db, rows))
        # The loop must survive: this is no request's work, and nothing depends on it.
        except Exception as error:  # noqa: BLE001
            log.warning("upstream_minutes_not_written", error=type(error).__name__)


def _row(key: Key, count: Count) -> tuple[object, ...]:
    upstream_id, minute, outcome = key
    begins = datetime.fromtimestamp(minute * 60, UTC)
    told = (count.calls, count.latency_ms, count.status, count.message)
    return (upstream_id, begins, outcome, *told)


async def _add(connection: Connection, rows: list[tuple[object, ...]]) -> None:
    """All or nothing, so that a second try counts nothing twice."""
    async with connection.transaction():
        for row in rows:
            # Not `executemany`, which prepares, and what psycopg has prepared it deallocates with
            # every rollback, the batches' statements too.
            await connection.execute(_ADD, row, prepare=False)
