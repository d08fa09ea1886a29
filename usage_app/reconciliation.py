"""Compares the books with one another: entries with roll-ups and windows, windows with open holds,
per tenant and day. It only reads them; what it finds is kept as a `Reconciliation` and its `Drift`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import orjson
import structlog
from django.db import connection, transaction
from django.db.models import QuerySet

from tenants_app.models import Tenant
from usage_app import extent, months, rollups
from usage_app import reconcile_sql as sql
from usage_app.figures import Span
from usage_app.models import Drift, Reconciliation
from usage_app.periods import day_period, local_day, month_period, next_month
from usage_app.snapshot import snapshot
from usage_app.usage_sql import FIGURES

# A run that finds more keeps counting, and no more rows or lines.
MOST_ROWS = 1_000
MOST_LINES = 20

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Comparison:
    """What was compared, and every figure that differed (rows of `Drift` that are not saved)."""

    entries: int = 0
    rollups: int = 0
    pending: int = 0
    windows: int = 0
    holds: int = 0
    drifts: list[Drift] = field(default_factory=list)


def run(
    *,
    author: str,
    tenants: Iterable[Tenant] | None = None,
    span: Span | None = None,
    on_tenant: Callable[[Tenant, list[Drift]], None] | None = None,
) -> Reconciliation:
    """Compare all days of all tenants, or these, and keep and log what was found.

    What is under way is no drift: each month of a tenant is read in one snapshot, and roll-up rows
    that the next roll-up will make anew are left out, and counted as pending.
    """
    chosen = list(Tenant.objects.order_by("slug") if tenants is None else tenants)
    found = Reconciliation.objects.create(
        author=author,
        tenant=chosen[0] if tenants is not None and len(chosen) == 1 else None,
        first_day=None if span is None or span.first == date.min else span.first,
        last_day=None if span is None or span.last == date.max else span.last,
    )
    for tenant in chosen:
        drifts: list[Drift] = []
        for comparison in _parts(tenant, span):
            _keep(found, comparison)
            drifts += comparison.drifts
        found.tenants += 1
        if on_tenant is not None:
            on_tenant(tenant, drifts)
    found.finished_at = datetime.now(UTC)
    found.save()
    _tell(found)
    return found


def compare(tenant: Tenant, span: Span) -> Comparison:
    """What a run would find in these days of a tenant, and in its holds; nothing is kept."""
    sums = Comparison()
    for part in _parts(tenant, span):
        for name in ("entries", "rollups", "pending", "windows", "holds", "drifts"):
            setattr(sums, name, getattr(sums, name) + getattr(part, name))
    return sums


def _parts(tenant: Tenant, span: Span | None) -> Iterator[Comparison]:
    """Month by month, so that no snapshot is old: an old one slows all counters down."""
    with snapshot():
        comparison = _holds(tenant)
    yield comparison
    for part in _months(extent.within(tenant, span)):
        if months.entries_are_gone(tenant, part.first):
            continue
        with snapshot():
            comparison = _days(tenant, part)
        yield comparison


def _months(span: Span | None) -> Iterator[Span]:
    if span is None:
        return
    first = span.first
    while first <= span.last:
        month = Span.month(first)
        yield Span(first, min(month.last, span.last))
        first = next_month(first)


def _days(tenant: Tenant, span: Span) -> Comparison:
    """Compare days of one month of a tenant, in the caller's snapshot."""
    params = _params(tenant, span)
    result = Comparison()
    for book, statement in (
        (Drift.Book.DAYS, sql.DAYS),
        (Drift.Book.HOURS, sql.HOURS),
        (Drift.Book.MONTHS, sql.MONTHS),
    ):
        places, fresh, entries = _ask(result, tenant, book, (statement, params, FIGURES))
        result.rollups += places
        result.pending += fresh
        if book == Drift.Book.DAYS:
            result.entries += entries
    for book, statement in (
        (Drift.Book.DAY_WINDOWS, sql.DAY_WINDOWS),
        (Drift.Book.MONTH_WINDOWS, sql.MONTH_WINDOWS),
    ):
        places, _, _ = _ask(result, tenant, book, (statement, params, sql.WINDOW_FIGURES))
        result.windows += places
    return result


def _holds(tenant: Tenant) -> Comparison:
    """Compare what a tenant's windows hold with its open holds, in the caller's snapshot."""
    result = Comparison()
    asked = (sql.HOLDS, {"tenant_id": tenant.pk, "days": "[]"}, sql.HOLD_FIGURES)
    result.holds, _, _ = _ask(result, tenant, Drift.Book.HOLDS, asked)
    return result


def _params(tenant: Tenant, span: Span) -> dict[str, Any]:
    month = month_period(span.first, tenant.timezone)
    days = [
        day_period(span.first + timedelta(days=later), tenant.timezone)
        for later in range(span.days)
    ]
    rows = [
        {"day": day.first_day, "starts_at": day.starts_at, "ends_at": day.ends_at} for day in days
    ]
    return {
        "tenant_id": tenant.pk,
        "since": rollups.mark(),
        "first": span.first,
        "last": span.last,
        "days": orjson.dumps(rows).decode(),
        "starts_at": days[0].starts_at,
        "ends_at": days[-1].ends_at,
        "first_hour": rollups.hours(span.first, tenant.timezone)["first_hour"],
        "end_hour": rollups.hours(span.last, tenant.timezone)["end_hour"],
        "month": month.first_day,
        "next_month": next_month(month.first_day),
        "month_starts_at": month.starts_at,
        "month_ends_at": month.ends_at,
    }


_Asked = tuple[str, dict[str, Any], tuple[str, ...]]


def _ask(result: Comparison, tenant: Tenant, book: str, asked: _Asked) -> tuple[int, int, int]:
    """Run a statement, put what differs into `result`, and answer what it counted."""
    statement, params, names = asked
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        places, fresh, entries, differing = cursor.fetchone()
    for place, cost_center, key, model, *sides in json.loads(differing, parse_float=Decimal):
        day, period, key_id = _place(tenant, book, place, key)
        for name, expected, found in zip_longest(names, *sides, fillvalue=0):
            if expected != found:
                result.drifts.append(
                    Drift(
                        tenant=tenant, day=day, book=book, period=period,
                        api_key_id=key_id if key_id > 0 else None,
                        team_id=-key_id if key_id < 0 else None,
                        cost_center=cost_center, model=model, figure=str(name),
                        expected=Decimal(expected), found=Decimal(found),
                    )
                )  # fmt: skip
    return places, fresh, entries


def _place(tenant: Tenant, book: str, place: Any, key: int) -> tuple[date, str, int]:
    """Day, period in words, and key of what differed (0: none; below: a team's, negated)."""
    if book == Drift.Book.HOLDS:
        return _window_place(tenant, place)
    if book == Drift.Book.HOURS:
        hour = datetime.fromisoformat(place).astimezone(UTC)
        return local_day(hour, tenant.timezone), f"{hour:%Y-%m-%d %H:%M} UTC", key
    day = date.fromisoformat(place)
    monthly = book in (Drift.Book.MONTHS, Drift.Book.MONTH_WINDOWS)
    return day, f"{day:%Y-%m}" if monthly else str(day), key


def _window_place(tenant: Tenant, window_id: int) -> tuple[date, str, int]:
    with connection.cursor() as cursor:
        cursor.execute(sql.PLACES_OF_WINDOWS, [[window_id]])
        row = cursor.fetchone()
    if row is None:
        return datetime.now(UTC).date(), f"window {window_id}, which is gone", 0
    period, starts_at, key = row
    day = local_day(starts_at, tenant.timezone)
    return day, "concurrent" if period == "concurrent" else f"{period} {day}", key


def _keep(found: Reconciliation, part: Comparison) -> None:
    """Add a part to the run, in one transaction: a run that is cut off tells how far it came."""
    found.entries += part.entries
    found.rollups += part.rollups
    found.pending += part.pending
    found.windows += part.windows
    found.holds += part.holds
    room = max(MOST_ROWS - found.drifts, 0)
    for row in part.drifts:
        row.reconciliation = found
    found.drifts += len(part.drifts)
    with transaction.atomic():
        Drift.objects.bulk_create(part.drifts[:room])
        found.save()


def _tell(found: Reconciliation) -> None:
    """The run as a log line, and each drift as one, up to a number."""
    names = ("tenants", "entries", "rollups", "pending", "windows", "holds", "drifts")
    counted = {name: getattr(found, name) for name in names}
    told = log.error if found.drifts else log.info
    told("reconciled", run=found.pk, author=found.author, **counted)
    rows: QuerySet[Drift] = found.found.select_related("tenant").order_by("id")
    for row in rows[:MOST_LINES]:
        log.error(
            "drift",
            tenantId=row.tenant.slug,
            day=str(row.day),
            book=row.book,
            period=row.period,
            figure=row.figure,
            expected=f"{row.expected.normalize():f}",
            found=f"{row.found.normalize():f}",
            size=f"{row.size.normalize():f}",
        )
