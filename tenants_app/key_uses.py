"""When keys were last used: noted in memory, written in batches by the loop that noted them."""

import asyncio
from contextvars import Context
from datetime import UTC, datetime
from typing import Final

import structlog
from psycopg import Error as DatabaseError

from tenants_app.database import pool

FLUSH_SECONDS: Final = 5.0
# The keys are locked in order, and against their deletion, before the rows are written.
WRITE: Final = """
    INSERT INTO tenants_app_apikeyuse AS old (key_id, last_used_at)
    SELECT key.id, used.at
    FROM unnest(%s::bigint[], %s::timestamptz[]) AS used (key_id, at)
    JOIN tenants_app_apikey key ON key.id = used.key_id
    ORDER BY key.id FOR KEY SHARE OF key
    ON CONFLICT (key_id) DO UPDATE
    SET last_used_at = greatest(old.last_used_at, excluded.last_used_at)
"""
log = structlog.get_logger(__name__)


class _Uses:
    """The uses noted since the last flush, and who will write them."""

    def __init__(self) -> None:
        self.noted: dict[int, datetime] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self.flushes: set[asyncio.Task[None]] = set()

    def start_flush(self) -> None:
        self.loop = None
        task = asyncio.get_running_loop().create_task(flush_uses())
        # The loop itself holds tasks only weakly.
        self.flushes.add(task)
        task.add_done_callback(self.flushes.discard)


_uses = _Uses()


def note_use(key_id: int) -> None:
    """Remember that a key was used; written within seconds, by the running loop."""
    loop = asyncio.get_running_loop()
    if _uses.loop is not loop:
        _uses.loop = loop
        loop.call_later(FLUSH_SECONDS, _uses.start_flush, context=Context())
    _uses.noted[key_id] = datetime.now(UTC)


async def flush_uses() -> None:
    """Write down the uses noted so far. What cannot be written is dropped, and logged."""
    noted, _uses.noted = _uses.noted, {}
    if not noted:
        return
    try:
        async with pool().connection() as connection:
            await connection.execute(WRITE, (list(noted), list(noted.values())))
    except DatabaseError as error:
        log.warning("key_uses_lost", keys=len(noted), error=type(error).__name__)
