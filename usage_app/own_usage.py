"""What a caller may know of the books: its own usage and how full its own budgets are. Async, on
the pool; it only reads.
"""

from collections.abc import Sequence
from datetime import date

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
    """Every budget of the caller's tenant, then of its key, the shortest period first; by the
    database's clock.
    """
    tenant_id, key_id = caller.tenant.id, caller.key.id if caller.key is not None else None
    async with pool().connection() as connection:
        cursor = await connection.execute("SELECT clock_timestamp()")
        (now,) = await cursor.fetchone() or ()
        scope = {"tenant_id": tenant_id, "key_id": key_id, "now": now}
        windows = await (await connection.execute(_WINDOWS, scope)).fetchall()
        buckets = await (await connection.execute(_BUCKETS, scope)).fetchall()
    counters = Counters(
        now=now,
        timezone=caller.tenant.timezone,
        windows={(row[0], row[1]): row[2:] for row in windows},
        buckets={(row[0], row[1]): Bucket(*row[2:]) for row in buckets},
    )
    scopes: list[tuple[ScopeName, int | None, Sequence[Limit]]] = [
        ("tenant", None, caller.tenant.limits)
    ]
    if caller.key is not None:
        scopes.append(("key", caller.key.id, caller.key.limits))
    return [fill for scope in scopes for fill in fills_of(*scope, counters)]


async def is_within_budgets(caller: Caller) -> bool:
    """Whether what is used and held fits into the caller's day and month budgets as they are now:
    false once one was set lower than that. Raises ServiceUnavailable when the database is away.
    """
    try:
        fills = await budgets(caller)
    except (OperationalError, PoolTimeout):
        raise ServiceUnavailable from None
    calendar = (fill for fill in fills if fill.limit.period in ("day", "month"))
    return all(fill.used + fill.held <= fill.limit.limit for fill in calendar)


_WINDOW = """
SELECT api_key_id, period, requests, tokens, cost, held_requests, held_tokens, held_cost
FROM usage_app_usagewindow
WHERE tenant_id = %(tenant_id)s AND {} AND starts_at <= %(now)s AND ends_at > %(now)s
"""
_BUCKET = """
SELECT api_key_id, metric, id, level_micro, refilled_at FROM usage_app_ratebucket
WHERE tenant_id = %(tenant_id)s AND {}
"""
_TENANTS, _KEYS = "api_key_id IS NULL", "api_key_id = %(key_id)s"
_WINDOWS = f"{_WINDOW.format(_TENANTS)} UNION ALL {_WINDOW.format(_KEYS)}"
_BUCKETS = f"{_BUCKET.format(_TENANTS)} UNION ALL {_BUCKET.format(_KEYS)}"
