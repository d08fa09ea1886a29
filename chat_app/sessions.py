"""What was said before in a session: read and written in batches, tenant by tenant, never when
memory is off.

Owns the stored messages. Losing one loses context, not money, so nothing here touches the ledger.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson
import psycopg
import structlog
from django.db import connection
from psycopg_pool import PoolTimeout

from chat_app.schema import Message
from tenants_app import pipeline
from tenants_app.database import retried
from tenants_app.errors import ServiceUnavailable
from tenants_app.pipeline import statement
from tenants_app.snapshots import Caller
from usage_app.group_commit import GroupCommit, Overdue, Overloaded

STORED_CHARACTERS = 200_000
DRAIN_SECONDS = 5.0

_READ = statement(
    "read_history",
    """
SELECT r.n, json_agg(json_build_array(m.role, m.content) ORDER BY m.id)
FROM json_to_recordset(%s) AS r(n integer, tenant_id bigint, session_id uuid, take integer)
CROSS JOIN LATERAL (
    SELECT id, role, content FROM chat_app_chatmessage
    WHERE tenant_id = r.tenant_id AND session_id = r.session_id ORDER BY id DESC LIMIT r.take
) m
GROUP BY r.n
""",
)

_APPEND = statement(
    "append_turns",
    """
INSERT INTO chat_app_chatmessage (tenant_id, session_id, role, content)
SELECT tenant_id, session_id, role, content
FROM json_to_recordset(%s) AS r(n integer, tenant_id bigint, session_id uuid, role text,
    content text)
ORDER BY n
""",
)

# Beyond a tenant's age or its number of messages a session; newest kept.
_PRUNE_OLD = """
DELETE FROM chat_app_chatmessage m USING tenants_app_tenant t
WHERE t.id = m.tenant_id AND (NOT t.session_memory
    OR m.created_at < now() - make_interval(days => t.session_retention_days))
"""
_PRUNE_LONG = """
DELETE FROM chat_app_chatmessage WHERE id IN (
    SELECT id FROM (
        SELECT m.id, t.max_messages_per_session AS most,
            row_number() OVER (PARTITION BY m.tenant_id, m.session_id ORDER BY m.id DESC) AS place
        FROM chat_app_chatmessage m JOIN tenants_app_tenant t ON t.id = m.tenant_id
    ) ranked WHERE place > most)
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Turn:
    tenant_id: int
    session_id: UUID
    messages: Sequence[Message]


async def history(caller: Caller, session_id: UUID) -> tuple[Message, ...]:
    """The newest messages of the tenant's session, oldest first, as many as its context size.

    Empty when memory is off. Raises ServiceUnavailable when the database is away.
    """
    tenant = caller.tenant
    if not tenant.session_memory or tenant.context_messages < 1:
        return ()
    try:
        return await _current().reading.submit((tenant.id, session_id, tenant.context_messages))
    except (Overloaded, Overdue, psycopg.OperationalError, PoolTimeout):
        raise ServiceUnavailable from None


def append(
    caller: Caller, session_id: UUID, messages: Sequence[Message]
) -> asyncio.Future[None] | None:
    """Queue one turn to be remembered, whole and in order; None when memory is off.

    The future is done when it is written; what goes wrong is logged, and may be ignored.
    """
    if not caller.tenant.session_memory:
        return None
    kept = [Message(m.role, m.content[:STORED_CHARACTERS].replace("\0", "")) for m in messages]
    try:
        future = _current().writing.submit(_Turn(caller.tenant.id, session_id, kept))
    except Overloaded:
        log.warning("session_not_remembered", error="Overloaded")
        return None
    future.add_done_callback(_log_failure)
    return future


def prune() -> int:
    """Delete what tenants no longer keep, by age and by number a session (sync); answers with how
    many.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE_OLD)
        deleted = int(cursor.rowcount)
        cursor.execute(_PRUNE_LONG)
        return deleted + int(cursor.rowcount)


async def drain() -> None:
    """Wait until everything said so far is written, but not for ever."""
    await _current().writing.drain(DRAIN_SECONDS)


def _log_failure(future: asyncio.Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("session_not_remembered", error=type(error).__name__)


class _Queues:
    """The reading and the writing queue of one event loop."""

    def __init__(self) -> None:
        self.reading = GroupCommit[tuple[int, UUID, int], tuple[Message, ...]](
            _read, group=lambda row: row[0]
        )
        self.writing = GroupCommit[_Turn, None](_write, group=lambda turn: turn.tenant_id)


_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queues] = WeakKeyDictionary()


def _current() -> _Queues:
    loop = asyncio.get_running_loop()
    found = _queues.get(loop)
    if found is None:
        found = _queues[loop] = _Queues()
    return found


async def _read(rows: Sequence[tuple[int, UUID, int]]) -> Sequence[tuple[Message, ...]]:
    wanted = [
        {"n": n, "tenant_id": tenant, "session_id": session, "take": take}
        for n, (tenant, session, take) in enumerate(rows)
    ]
    (answer,) = await retried(lambda db: pipeline.run(db, (_READ, [orjson.dumps(wanted)])))
    found = {int(n): tuple(Message(*m) for m in orjson.loads(messages)) for n, messages in answer}
    return [found.get(n, ()) for n in range(len(rows))]


async def _write(turns: Sequence[_Turn]) -> Sequence[None]:
    rows = [
        {
            "tenant_id": turn.tenant_id,
            "session_id": turn.session_id,
            "role": message.role,
            "content": message.content,
        }
        for turn in turns
        for message in turn.messages
    ]
    numbered = [row | {"n": n} for n, row in enumerate(rows)]
    # Of what was written by a connection that is lost in that moment there may be two.
    await retried(lambda db: pipeline.run(db, (_APPEND, [orjson.dumps(numbered)])))
    return [None] * len(turns)
