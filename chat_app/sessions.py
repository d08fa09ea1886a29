"""What a session remembers: read and written by turns, in batches, never when memory is off.

A session's order is that of its turns' ids, which are the requests', whichever of them ends first.
Losing a message loses context, not money, so nothing here touches the ledger. What its owner sees
and deletes is `session_pages`', how long it is kept `retention`'s.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson
import psycopg
import structlog
from psycopg_pool import PoolTimeout

from chat_app import context
from chat_app.context import Room
from chat_app.schema import Message
from tenants_app import pipeline
from tenants_app.database import retried
from tenants_app.errors import ServiceUnavailable
from tenants_app.pipeline import statement
from tenants_app.snapshots import Caller, TenantSnapshot
from usage_app.group_commit import GroupCommit, Overdue, Overloaded

STORED_CHARACTERS = 200_000
DRAIN_SECONDS = 5.0

# Turns up to this one were deleted with their session; `r` has the tenant and the session.
FORGOTTEN = """coalesce(
    (SELECT f.turn_id FROM chat_app_forgottensession f
     WHERE f.tenant_id = r.tenant_id AND f.session_id = r.session_id),
    '00000000-0000-0000-0000-000000000000')"""

# Bytes are added up without reading a long text, which lies outside of its row.
_READ = statement(
    "read_sessions",
    f"""
SELECT r.n, json_agg(json_build_array(m.role, m.content) ORDER BY m.turn_id, m.id)
FROM json_to_recordset(%s) AS r(n integer, tenant_id bigint, session_id uuid, days integer,
    messages integer, bytes bigint)
CROSS JOIN LATERAL (
    SELECT newest.*, sum(octet_length(content))
        OVER (ORDER BY turn_id DESC, id DESC ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT id, turn_id, role, content FROM chat_app_chatmessage
        WHERE tenant_id = r.tenant_id AND session_id = r.session_id AND turn_id > {FORGOTTEN}
            AND created_at > now() - make_interval(days => r.days)
        ORDER BY turn_id DESC, id DESC LIMIT r.messages
    ) newest
) m
WHERE m.bytes <= r.bytes
GROUP BY r.n
""",
)

_APPEND = statement(
    "append_turns",
    f"""
INSERT INTO chat_app_chatmessage (tenant_id, session_id, turn_id, role, content)
SELECT tenant_id, session_id, turn_id, role, content
FROM json_to_recordset(%s) AS r(n integer, tenant_id bigint, session_id uuid, turn_id uuid,
    role text, content text)
WHERE turn_id > {FORGOTTEN}
    AND (SELECT session_memory FROM tenants_app_tenant WHERE id = r.tenant_id)
ORDER BY n
""",
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    tenant: TenantSnapshot
    session_id: UUID
    room: Room


@dataclass(frozen=True, slots=True)
class _Turn:
    tenant_id: int
    session_id: UUID
    turn_id: UUID
    messages: Sequence[Message]


async def recall(caller: Caller, session_id: UUID, room: Room) -> tuple[Message, ...]:
    """The newest messages of the tenant's session that there is room for, oldest first.

    Empty when memory is off. Raises ServiceUnavailable when the database is away.
    """
    if not caller.tenant.session_memory or not room:
        return ()
    wanted = _Wanted(caller.tenant, session_id, room)
    try:
        return context.newest(await _current().reading.submit(wanted), room)
    except (Overloaded, Overdue, psycopg.OperationalError, PoolTimeout):
        raise ServiceUnavailable from None


def append(
    caller: Caller, session_id: UUID, turn_id: UUID, messages: Sequence[Message]
) -> asyncio.Future[None] | None:
    """Queue one turn to be remembered, whole and in its place; None when memory is off.

    The future is done when it is written, or was left out because since the turn began the session
    was deleted or memory switched off; what goes wrong is logged, and may be ignored.
    """
    if not caller.tenant.session_memory:
        return None
    kept = [Message(m.role, m.content[:STORED_CHARACTERS].replace("\0", "")) for m in messages]
    try:
        future = _current().writing.submit(_Turn(caller.tenant.id, session_id, turn_id, kept))
    except Overloaded:
        log.warning("session_not_remembered", error="Overloaded")
        return None
    future.add_done_callback(_log_failure)
    return future


async def drain() -> None:
    """Wait until everything said so far is written, but not for ever."""
    await _current().writing.drain(DRAIN_SECONDS)


def _log_failure(future: asyncio.Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("session_not_remembered", error=type(error).__name__)


class _Queues:
    """The reading and the writing queue of one event loop."""

    def __init__(self) -> None:
        self.reading = GroupCommit[_Wanted, tuple[Message, ...]](
            _read, group=lambda wanted: wanted.tenant.id
        )
        self.writing = GroupCommit[_Turn, None](_write, group=lambda turn: turn.tenant_id)


_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queues] = WeakKeyDictionary()


def _current() -> _Queues:
    loop = asyncio.get_running_loop()
    found = _queues.get(loop)
    if found is None:
        found = _queues[loop] = _Queues()
    return found


async def _read(wanted: Sequence[_Wanted]) -> Sequence[tuple[Message, ...]]:
    rows = [
        {
            "n": n,
            "tenant_id": one.tenant.id,
            "session_id": one.session_id,
            "days": one.tenant.session_retention_days,
            "messages": one.room.messages,
            "bytes": one.room.bytes,
        }
        for n, one in enumerate(wanted)
    ]
    (answer,) = await retried(lambda db: pipeline.run(db, (_READ, [orjson.dumps(rows)])))
    found = {int(n): tuple(Message(*m) for m in orjson.loads(messages)) for n, messages in answer}
    return [found.get(n, ()) for n in range(len(rows))]


async def _write(turns: Sequence[_Turn]) -> Sequence[None]:
    rows = [
        {
            "tenant_id": turn.tenant_id,
            "session_id": turn.session_id,
            "turn_id": turn.turn_id,
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
