"""What a caller may know of the books: its own usage and how full its own budgets are. Async, on
the pool; it only reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime

from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from tenants_app.database import pool
from tenants_app.errors import ServiceUnavailable
from tenants_app.snapshots import Caller, Limit
from usage_app import usage_sql
from usage_app.admission import Bucket, ScopeName
from usage_app.figures import Figures, Span
from usage_app.fills import Counters, Fill, fills_of


async def usage(caller: Caller, span: Span) -> list[tuple[tuple[date, str], Figures]]:
    """The caller's usage per local day and model, in that order: a key's own, or the whole
    tenant's when there is no key.
    """
    params = {"tenant_id": caller.tenant.id, "first": span.first, "last": span.last}
    if caller.key is not None:
        params["key_id"] = caller.key.id
    statement = usage_sql.usage(
        ("day", "model"), whose=usage_sql.ONE, one_key=caller.key is not None
    )
    async with pool().connection() as connection:
        (since,) = await (await connection.execute(usage_sql.MARK)).fetchone() or ("-infinity",)
        # Prepared, it would be planned without knowing how few entries are younger than the mark.
        cursor = await connection.execute(statement, {**params, "since": since}, prepare=False)
        rows = await cursor.fetchall()
    return [((row[0], row[1]), Figures.split(row, 2)[1]) for row in rows]


async def budgets(caller: Caller) -> list[Fill]:
    """Every budget of the caller's tenant, then of its team and its key, the shortest period
    first; by the database's clock.
    """
    return (await _fills(caller))[1]


async def _fills(caller: Caller) -> tuple[datetime, list[Fill]]:
    """The database's clock, and how full every budget is."""
    key = caller.key
    team_id = key.team.id if key is not None and key.team is not None else None
    async with pool().connection() as connection:
        cursor = await connection.execute("SELECT clock_timestamp()")
        (now,) = await cursor.fetchone() or ()
        scope = {"tenant_id": caller.tenant.id, "team_id": team_id, "now": now}
        scope["key_id"] = key.id if key is not None else None
        windows = await (await connection.execute(_WINDOWS, scope)).fetchall()
        buckets = await (await connection.execute(_BUCKETS, scope)).fetchall()
    counters = Counters(
        now=now,
        timezone=caller.tenant.timezone,
        windows={(row[0], row[1]): row[2:] for row in windows},
        buckets={(row[0], row[1]): Bucket(*row[2:]) for row in buckets},
    )
    return now, [fill for scope in _scopes(caller) for fill in fills_of(*scope, counters)]


def _scopes(caller: Caller) -> Iterator[tuple[ScopeName, Sequence[Limit]]]:
    tenant, key = caller.tenant, caller.key
    yield "tenant", tenant.limits
    if key is not None and key.team is not None:
        yield "team", key.team.limits
    if key is not None:
        yield "key", key.limits


async def is_within_budgets(caller: Caller, since: datetime) -> bool:
    """Whether what is used and held fits into the caller's day and month budgets as they are now:
    false once one was set lower, or its raise cancelled. What was admitted at `since` under a raise
    that has ended by itself fits still. Raises ServiceUnavailable when the database is away.
    """
    try:
        now, fills = await _fills(caller)
    except (OperationalError, PoolTimeout):
        raise ServiceUnavailable from None
    calendar = (fill for fill in fills if fill.limit.period in ("day", "month"))
    return all(fill.used + fill.held <= fill.limit.most(since, now) for fill in calendar)


_WINDOW = """
SELECT '{}', period, requests, tokens, cost,
    held_requests, held_tokens, held_cost
FROM usage_app_usagewindow
WHERE tenant_id = %(tenant_id)s AND {} AND starts_at <= %(now)s AND ends_at > %(now)s
"""
_BUCKET = """
SELECT '{}', metric, id, level_micro, refilled_at
FROM usage_app_ratebucket
WHERE tenant_id = %(tenant_id)s AND {}
"""
_ROWS_OF: Mapping[ScopeName, str] = {
    "tenant": "api_key_id IS NULL AND team_id IS NULL",
    "team": "api_key_id IS NULL AND team_id = %(team_id)s",
    "key": "api_key_id = %(key_id)s AND team_id IS NULL",
}
_WINDOWS = " UNION ALL ".join(_WINDOW.format(*one) for one in _ROWS_OF.items())
_BUCKETS = " UNION ALL ".join(_BUCKET.format(*one) for one in _ROWS_OF.items())
