"""Adds ledger entries up per hour, day and month of a tenant, key and model, in whole groups: any
order, repetition or crash of these calls gives the same rows. It never writes the books.

A mark says up to when everything settled is in the roll-ups; reports read what came later from the
entries themselves.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from tenants_app.models import Tenant
from usage_app import usage_sql as sql
from usage_app.periods import day_period, next_month

# How long an entry's transaction may take that the database does not let us see.
MARGIN = timedelta(minutes=1)


def roll_up(tenant_id: int, day: date) -> None:
    """Make the tenant's rows of this local day, of the hours it touches and of its month anew.

    One transaction, under the tenant's advisory lock: clock hours at midnight belong to two days in
    zones with half hours, so two days of one tenant must not be made at once.
    """
    timezone = Tenant.objects.values_list("timezone", flat=True).get(pk=tenant_id)
    month = day.replace(day=1)
    group: dict[str, Any] = {
        "tenant_id": tenant_id,
        "day": day,
        "month": month,
        "next_month": next_month(month),
        **hours(day, timezone),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, tenant_id)
        for statement in (
            *(sql.CLEAR_DAY, sql.FILL_DAY),
            *(sql.CLEAR_HOURS, sql.FILL_HOURS),
            *(sql.CLEAR_MONTH, sql.FILL_MONTH),
        ):
            cursor.execute(statement, group)


def roll_up_hour(tenant_id: int, hour: datetime) -> None:
    """Make the tenant's rows of this clock hour alone anew.

    An hour counts what was admitted in it. A correction has its own instant and the day of what it
    corrects, so that making its day anew does not reach its hour.
    """
    end = hour + timedelta(hours=1)
    group: dict[str, Any] = {"tenant_id": tenant_id, "first_hour": hour, "end_hour": end}
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, tenant_id)
        cursor.execute(sql.CLEAR_HOURS, group)
        cursor.execute(sql.FILL_HOURS, group)


def roll_up_new(*, margin: timedelta = MARGIN) -> int:
    """Roll up every group with an entry settled since the mark, move the mark on, and answer how
    many there were. After an outage of any length the first call catches up.
    """
    # In this order: what was written before the horizon is seen by the search for groups.
    with connection.cursor() as cursor:
        cursor.execute(sql.HORIZON, [margin.total_seconds()])
        (horizon,) = cursor.fetchone()
    groups = _roll_up_settled_since(mark())
    with connection.cursor() as cursor:
        cursor.execute(sql.ADVANCE, [horizon])
    return groups


def roll_up_recent(days: int) -> int:
    """Roll up every group with an entry settled in the last `days`, whatever the mark says; answers
    how many there were.
    """
    since = datetime.now(UTC) - timedelta(days=days)
    return _roll_up_settled_since(since.isoformat())


def mark() -> str:
    """The instant before which everything settled is in the roll-ups, as Postgres writes it;
    `-infinity` before the first one.
    """
    with connection.cursor() as cursor:
        cursor.execute(sql.MARK)
        return str(cursor.fetchone()[0])


def _roll_up_settled_since(since: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql.GROUPS_SETTLED_SINCE, [since])
        groups: list[tuple[int, date]] = cursor.fetchall()
        cursor.execute(sql.LATE_HOURS_SETTLED_SINCE, [since])
        late: list[tuple[int, datetime]] = cursor.fetchall()
    for tenant_id, day in groups:
        roll_up(tenant_id, day)
    for tenant_id, hour in late:
        roll_up_hour(tenant_id, hour)
    return len(groups)


def _lock(cursor: CursorWrapper, tenant_id: int) -> None:
    """In a statement of its own: one that waits for a lock reads with a view from before it."""
    cursor.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"usage_app.rollups {tenant_id}"]
    )


def hours(day: date, timezone: str) -> dict[str, datetime]:
    """The clock hours in UTC that the local day touches."""
    period = day_period(day, timezone)
    last = (period.ends_at - timedelta(microseconds=1)).replace(minute=0, second=0, microsecond=0)
    return {
        "first_hour": period.starts_at.replace(minute=0, second=0, microsecond=0),
        "end_hour": last + timedelta(hours=1),
    }
