"""How long sessions are kept: forgets by age and by number a session, and what has no owner any
more. Sync; small statements that commit by themselves, each along an index, so that it may stop
anywhere and goes on the next time.
"""

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from django.db import connection

# Rows deleted by one statement, and index entries looked at by one.
DELETED_AT_ONCE: Final = 2_000
READ_AT_ONCE: Final = 50_000

_NIL: Final = UUID(int=0)
_LAST: Final = UUID(int=2**128 - 1)

# From tenant to tenant by the index: a DISTINCT would read all of it.
_TENANTS = """
WITH RECURSIVE kept AS (
    (SELECT tenant_id FROM chat_app_chatmessage ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT m.tenant_id FROM chat_app_chatmessage m
            WHERE m.tenant_id > kept.tenant_id ORDER BY m.tenant_id LIMIT 1)
    FROM kept WHERE kept.tenant_id IS NOT NULL
)
SELECT kept.tenant_id, coalesce(t.session_memory, false), t.session_retention_days,
    t.max_messages_per_session
FROM kept LEFT JOIN tenants_app_tenant t ON t.id = kept.tenant_id
WHERE kept.tenant_id IS NOT NULL
"""

_DELETE = "DELETE FROM chat_app_chatmessage WHERE id = ANY(ARRAY({} LIMIT %(some)s))"
_DELETE_ALL = _DELETE.format(
    "SELECT id FROM chat_app_chatmessage WHERE tenant_id = %(tenant)s ORDER BY created_at"
)
_DELETE_OLD = _DELETE.format(
    """SELECT id FROM chat_app_chatmessage WHERE tenant_id = %(tenant)s
    AND created_at <= now() - make_interval(days => %(days)s) ORDER BY created_at"""
)
_DELETE_TURNS = _DELETE.format(
    """SELECT id FROM chat_app_chatmessage WHERE tenant_id = %(tenant)s
    AND session_id = %(session)s AND turn_id <= %(turn)s ORDER BY turn_id, id"""
)

# The session in which the next READ_AT_ONCE messages of a tenant end.
_STRETCH = """
SELECT session_id FROM chat_app_chatmessage
WHERE tenant_id = %(tenant)s AND session_id > %(after)s
ORDER BY session_id OFFSET %(many)s LIMIT 1
"""
_LONG = """
SELECT session_id FROM chat_app_chatmessage
WHERE tenant_id = %(tenant)s AND session_id > %(after)s AND session_id <= %(upto)s
GROUP BY session_id HAVING count(*) > %(most)s
"""
# The newest turn that does not fit whole.
_BEYOND = """
SELECT turn_id FROM chat_app_chatmessage
WHERE tenant_id = %(tenant)s AND session_id = %(session)s
ORDER BY turn_id DESC, id DESC OFFSET %(most)s LIMIT 1
"""

# Marks of sessions that were deleted.
_MARKS = """
SELECT tenant_id, session_id, turn_id FROM chat_app_forgottensession
WHERE (tenant_id, session_id) > (%(tenant)s, %(session)s)
ORDER BY tenant_id, session_id LIMIT %(some)s
"""
# No turn runs for a day: none of before the deletion is still to be written.
_DELETE_OLD_MARKS = """
DELETE FROM chat_app_forgottensession WHERE id = ANY(ARRAY(
    SELECT id FROM chat_app_forgottensession WHERE forgotten_at < now() - interval '1 day'
    ORDER BY forgotten_at LIMIT %(some)s))
"""


def prune() -> int:
    """Delete what tenants no longer keep, and what came in beside a deletion; answers how many."""
    deleted = _prune_forgotten()
    for tenant_id, remembers, days, most in _rows(_TENANTS):
        tenant = {"tenant": tenant_id}
        if not remembers:
            deleted += _delete(_DELETE_ALL, tenant)
            continue
        deleted += _delete(_DELETE_OLD, tenant | {"days": days})
        for session in _long_sessions(tenant, most):
            deleted += _shorten(tenant | {"session": session}, most)
    return deleted


def _prune_forgotten() -> int:
    """The text of turns that were written in the very moment in which their session was deleted."""
    deleted, place = 0, {"tenant": 0, "session": _NIL}
    while found := _rows(_MARKS, place | {"some": DELETED_AT_ONCE}):
        for tenant, session, turn in found:
            place = {"tenant": tenant, "session": session}
            deleted += _delete(_DELETE_TURNS, place | {"turn": turn})
    _delete(_DELETE_OLD_MARKS, {})
    return deleted


def _long_sessions(tenant: dict[str, Any], most: int) -> Iterator[UUID]:
    """The tenant's sessions of more than `most` messages, found a stretch at a time."""
    yield _NIL  # a session like any other, and not after itself
    after: UUID | None = _NIL
    while after is not None:
        stretch = tenant | {"after": after, "many": READ_AT_ONCE}
        after = next((session for (session,) in _rows(_STRETCH, stretch)), None)
        stretch |= {"upto": after or _LAST, "most": most}
        yield from (session for (session,) in _rows(_LONG, stretch))


def _shorten(session: dict[str, Any], most: int) -> int:
    """Whole turns go: half of one would begin with an answer to nobody."""
    beyond = _rows(_BEYOND, session | {"most": most})
    return sum(_delete(_DELETE_TURNS, session | {"turn": turn}) for (turn,) in beyond)


def _rows(query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def _delete(statement: str, values: dict[str, Any]) -> int:
    """Repeat the statement until there is nothing left for it."""
    deleted = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(statement, values | {"some": DELETED_AT_ONCE})
            some = int(cursor.rowcount)
        deleted += some
        if some < DELETED_AT_ONCE:
            return deleted
