"""A session as its owner sees it: read page by page, and deleted. Async, on the pool.

Shows nothing that retention has let go by its age, even before `retention` has deleted it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chat_app.session_query import PageCall, Place
from chat_app.sessions import FORGOTTEN
from tenants_app.database import Connection, retried
from tenants_app.snapshots import Caller

# A page ends after the message with which it has come to this; one more page follows.
PAGE_BYTES = 1_000_000
DELETED_AT_ONCE = 2_000

_PAGE = f"""
WITH r AS (SELECT %(tenant)s::bigint AS tenant_id, %(session)s::uuid AS session_id),
rows AS (
    SELECT id, turn_id, role, content, m.created_at
    FROM chat_app_chatmessage m JOIN r USING (tenant_id, session_id)
    WHERE (turn_id, id) < (%(turn)s, %(id)s) AND turn_id > {FORGOTTEN}
        AND m.created_at > now() - make_interval(days => %(days)s)
    ORDER BY turn_id DESC, id DESC LIMIT %(limit)s + 1
), sized AS (
    SELECT rows.*, count(*) OVER () AS found, sum(octet_length(content))
        OVER (ORDER BY turn_id DESC, id DESC ROWS UNBOUNDED PRECEDING) AS bytes
    FROM rows
)
SELECT found, turn_id, id, role, content, created_at FROM sized
WHERE bytes - octet_length(content) < {PAGE_BYTES}
ORDER BY turn_id DESC, id DESC LIMIT %(limit)s
"""

# Before the messages are deleted: a turn that ends meanwhile leaves nothing behind.
_FORGET = """
INSERT INTO chat_app_forgottensession AS known (tenant_id, session_id, turn_id)
VALUES (%(tenant)s, %(session)s, %(turn)s)
ON CONFLICT (tenant_id, session_id) DO UPDATE
SET turn_id = greatest(known.turn_id, excluded.turn_id), forgotten_at = now()
"""
_DELETE = f"""
DELETE FROM chat_app_chatmessage WHERE id = ANY(ARRAY(
    SELECT id FROM chat_app_chatmessage
    WHERE tenant_id = %(tenant)s AND session_id = %(session)s LIMIT {DELETED_AT_ONCE}))
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it is kept."""

    place: Place
    role: str
    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Messages, the newest first; `more` if there are older ones."""

    messages: Sequence[Stored]
    more: bool


async def page(caller: Caller, session_id: UUID, call: PageCall) -> Page | None:
    """A page of the tenant's session; None when there is no such session, which is also so while
    memory is off. Raises OperationalError when the database is away.
    """
    if not caller.tenant.session_memory:
        return None
    found = await _page(caller, session_id, call)
    if found.messages:
        return found
    # Either `before` was the oldest message, or there is no session.
    newest = await _page(caller, session_id, PageCall(limit=1))
    return found if newest.messages else None


async def forget(caller: Caller, session_id: UUID, turn_id: UUID) -> int:
    """Delete the tenant's session; answers how many messages it had.

    Nothing comes back of turns that began before `turn_id`, the id of this request: a session of
    that id begins anew. Raises OperationalError when the database is away; it may be done again.
    """
    session = {"tenant": caller.tenant.id, "session": session_id}

    async def forget_turns(connection: Connection) -> None:
        await connection.execute(_FORGET, session | {"turn": turn_id})

    async def delete_some(connection: Connection) -> int:
        return (await connection.execute(_DELETE, session)).rowcount

    await retried(forget_turns)
    deleted = 0
    while some := await retried(delete_some):
        deleted += some
    return deleted


async def _page(caller: Caller, session_id: UUID, call: PageCall) -> Page:
    values: dict[str, Any] = {
        "tenant": caller.tenant.id,
        "session": session_id,
        "days": caller.tenant.session_retention_days,
        "limit": call.limit,
        "turn": call.before.turn_id,
        "id": call.before.id,
    }

    async def read(connection: Connection) -> list[Any]:
        return await (await connection.execute(_PAGE, values)).fetchall()

    rows = await retried(read)
    messages = tuple(Stored(Place(turn, id_), *rest) for _, turn, id_, *rest in rows)
    return Page(messages, more=bool(rows) and rows[0][0] > len(rows))
