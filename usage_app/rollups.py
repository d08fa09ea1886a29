"""Adds ledger entries up per hour, day and month of a tenant, key and model, in whole groups: any
order, repetition or crash of these calls gives the same rows. It never writes the books.

A mark says up to when everything settled is in the roll-ups; reports read what came later from the
entries themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from tenants_app.models import Tenant
from usage_app import months
from usage_app import usage_sql as sql
from usage_app.figures import Span
from usage_app.periods import day_period, next_month

# How long an entry's transaction may take that the database does not let us see.
MARGIN = timedelta(minutes=1)
ENTRIES_A_SLICE = 50_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Some days of one month of a tenant, one after the other, that are made in one transaction."""

    tenant_id: int
    first: date
    last: date
    days: int = 1


def roll_up(tenant_id: int, first: date, last: date | None = None) -> None:
    """Make the tenant's rows of these local days of one month, of the hours they touch and of the
    month anew.

    One transaction, under the tenant's advisory lock: clock hours at midnight belong to two days in
    zones with half hours, so two days of one tenant must not be made at once. A closed month whose
    entries were detached keeps the rows it has.
    """
    if months.entries_are_gone(tenant_id, first):
        return
    timezone = Tenant.objects.values_list("timezone", flat=True).get(pk=tenant_id)
    last = last or first
    month = first.replace(day=1)
    group: dict[str, Any] = {
        "tenant_id": tenant_id,
        "first": first,
        "last": last,
        "month": month,
        "next_month": next_month(month),
        "first_hour": hours(first, timezone)["first_hour"],
        "end_hour": hours(last, timezone)["end_hour"],
    }
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor, tenant_id)
        for statement in (
            *(sql.CLEAR_DAYS, sql.FILL_DAYS),
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


def slices(counts: Iterable[tuple[int, date, int]]) -> list[Slice]:
    """Days of tenants, each with how many entries it has, as slices: the oldest first.

    A statement over a month costs hardly more than one over a day of it, but for the entries that
    it reads; these are bounded, so that no transaction is long.
    """
    made: list[Slice] = []
    room = 0
    for tenant_id, day, entries in sorted(counts):
        last = made[-1] if made else None
        if (
            last is not None
            and entries <= room
            and last.tenant_id == tenant_id
            and last.last + timedelta(days=1) == day
            and day.day != 1
        ):
            made[-1] = Slice(tenant_id, last.first, day, last.days + 1)
            room -= entries
        else:
            made.append(Slice(tenant_id, day, day))
            room = ENTRIES_A_SLICE - entries
    return sorted(made, key=lambda one: (one.first, one.tenant_id))


def slices_within(tenant: Tenant, span: Span) -> list[Slice]:
    """Every day of the span, with entries or without."""
    with connection.cursor() as cursor:
        params: dict[str, Any] = {
            "tenant_id": tenant.pk, "first": span.first, "last": span.last
        }  # fmt: skip
        cursor.execute(sql.GROUPS_WITHIN, params)
        counts = {day: entries for _, day, entries in cursor.fetchall()}
    days = [span.first + timedelta(days=later) for later in range(span.days)]
    return slices((tenant.pk, day, counts.get(day, 0)) for day in days)


def _roll_up_settled_since(since: str) -> int:
    """Answers how many days of tenants there were."""
    with connection.cursor() as cursor:
        cursor.execute(sql.GROUPS_SETTLED_SINCE, [since])
        counts: list[tuple[int, date, int]] = cursor.fetchall()
        cursor.execute(sql.LATE_HOURS_SETTLED_SINCE, [since])
        late: list[tuple[int, datetime]] = cursor.fetchall()
    for one in slices(counts):
        roll_up(one.tenant_id, one.first, one.last)
    for tenant_id, hour in late:
        roll_up_hour(tenant_id, hour)
    return len(counts)


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
