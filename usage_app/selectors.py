"""What pages ask of the books, on Django's connection: usage for reports, how full budgets are, the
database's clock, and what the books have frozen.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any, Literal
from uuid import uuid4

from django.db import connection

from tenants_app.models import Budget, Tenant
from tenants_app.raises import limit_at, standing
from tenants_app.snapshots import Limit, limit_of
from usage_app import rollups, usage_sql
from usage_app.admission import Bucket, ScopeName
from usage_app.figures import Figures, Span
from usage_app.fills import Counters, Fill, Owner, fills_of
from usage_app.models import (
    LedgerEntry,
    Margin,
    Price,
    RateBucket,
    Reservation,
    RollupMark,
    UsageWindow,
)
from usage_app.periods import local_day
from usage_app.reports import sql as report_sql
from usage_app.reports.lines import Line, sum_of
from usage_app.reports.query import GROUPS, ReportQuery

ROWS_A_FETCH = 500


def usage(
    groups: Sequence[str],
    span: Span,
    *,
    tenant: Tenant | None = None,
    since: str | None = None,
    coarse: bool = True,
) -> list[tuple[tuple[Any, ...], Figures]]:
    """Usage within the span, of one tenant or of all, added up by `groups` of (tenant_id, day,
    api_key_id, model) and in their order; it equals the sum of the entries at that moment, see
    `usage_sql.usage` for how. Two queries, however many rows there are. With `since` other than the
    roll-ups' mark only days without later entries come from the roll-ups: `-infinity`, none.
    Unless `coarse`, the roll-ups of days alone are read.
    """
    whose = usage_sql.ONE if tenant else usage_sql.ALL
    statement = usage_sql.usage(groups, whose=whose, coarse=coarse)
    since = rollups.mark() if since is None else since
    params: dict[str, Any] = {"since": since, "first": span.first, "last": span.last}
    if tenant is not None:
        params["tenant_id"] = tenant.pk
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows = cursor.fetchall()
    return [Figures.split(row, len(groups)) for row in rows]


def report_days(
    query: ReportQuery, tenant: Tenant | None, since: str, *, histograms: bool = True
) -> list[Line]:
    """What a report is about by day, whatever it is grouped by; without `histograms` no latency is
    known. `since` is the roll-ups' mark. One query.
    """
    statement = report_sql.lines(query, groups=("day",), histograms=histograms)
    with connection.cursor() as cursor:
        cursor.execute(statement, _params(query, tenant, since))
        return [Line.of(row, ("day",)) for row in cursor]


def report_total(
    query: ReportQuery, tenant: Tenant | None, since: str, *, histograms: bool = True
) -> Line:
    """The sum of a report; without `histograms` no latency is known. One query."""
    statement = report_sql.lines(query, groups=report_sql.TOTAL_BY, histograms=histograms)
    with connection.cursor() as cursor:
        cursor.execute(statement, _params(query, tenant, since))
        return sum_of(Line.of(row, report_sql.TOTAL_BY) for row in cursor)


def report_page(
    query: ReportQuery, tenant: Tenant | None, since: str, *, limit: int, offset: int = 0
) -> tuple[list[Line], int]:
    """Some lines of a report, and how many there are in all (0 beyond its end). One query."""
    page = {**_params(query, tenant, since), "limit": limit, "offset": offset}
    with connection.cursor() as cursor:
        cursor.execute(report_sql.lines(query, page=True), page)
        rows = cursor.fetchall()
    return list(_lines(rows, GROUPS[query.group_by])), rows[0][-1] if rows else 0


def report_lines(
    query: ReportQuery,
    tenant: Tenant | None,
    *,
    groups: Sequence[str] = (),
    histograms: bool = True,
) -> Iterator[Line]:
    """Every line of a report, as of one moment: asked for at once, and fetched piece by piece, in
    memory that does not grow with their number. `groups` are the query's own unless told; without
    `histograms` no latency is known.
    """
    params = _params(query, tenant, rollups.mark())
    groups = groups or GROUPS[query.group_by]
    cursor = _held_cursor()
    try:
        cursor.execute(report_sql.lines(query, groups=groups, histograms=histograms), params)
        first = cursor.fetchmany(ROWS_A_FETCH)
    except BaseException:
        cursor.close()
        raise
    if len(first) < ROWS_A_FETCH:
        cursor.close()
        return _lines(first, groups)
    return _lines(chain(first, _rest(cursor)), groups)


def _held_cursor() -> Any:
    """A cursor on the server that goes on after the transaction in which it is opened."""
    connection.ensure_connection()
    return connection.connection.cursor(f"report_{uuid4().hex}", scrollable=False, withhold=True)


def _rest(cursor: Any) -> Iterator[Sequence[Any]]:
    with cursor:
        while rows := cursor.fetchmany(ROWS_A_FETCH):
            yield from rows


def _lines(rows: Iterable[Sequence[Any]], groups: Sequence[str]) -> Iterator[Line]:
    return (Line.of(row, groups) for row in rows)


def _params(query: ReportQuery, tenant: Tenant | None, since: str) -> Mapping[str, Any]:
    return report_sql.params(query, tenant.pk if tenant else None, since)


def clock() -> datetime:
    """The database's, by which windows begin and end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now  # type: ignore[no-any-return]


def rolled_up_to() -> datetime | None:
    """What was settled before is in the roll-ups; None: nothing is."""
    return RollupMark.objects.values_list("settled_before", flat=True).first()


def counters(tenant: Tenant, now: datetime) -> Counters:
    """What the tenant as a whole uses and holds at this moment. Two queries."""
    own = UsageWindow.objects.for_tenant(tenant).filter(team=None, api_key=None)
    windows = own.filter(starts_at__lte=now, ends_at__gt=now).values_list("period", *COUNTED)
    buckets = RateBucket.objects.for_tenant(tenant).filter(team=None, api_key=None)
    levels = buckets.values_list("metric", "id", "level_micro", "refilled_at")
    return Counters(
        now=now,
        timezone=tenant.timezone,
        windows={("tenant", period): row for period, *row in windows},
        buckets={("tenant", metric): Bucket(*row) for metric, *row in levels},
    )


def fills(tenant: Tenant, counters: Counters) -> list[tuple[int, Fill]]:
    """How full the budgets of the tenant as a whole are, each with its budget's id. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_LIMITS, [tenant.pk])
        limits = {limit_row(*row): pk for pk, *row in cursor}
    return [(limits[fill.limit], fill) for fill in fills_of("tenant", limits, counters)]


def fill_of(budget: Budget, now: datetime) -> Fill:
    """How full one budget of a day or month is. Two queries."""
    with connection.cursor() as cursor:
        cursor.execute(_LIMIT, [budget.pk])
        limit = limit_row(*cursor.fetchone())
    windows = UsageWindow.objects.for_tenant(budget.tenant_id).filter(
        team=budget.team_id, api_key=budget.api_key_id, period=budget.period
    )
    rows = windows.filter(starts_at__lte=now, ends_at__gt=now)
    scope: ScopeName = "team" if budget.team_id else "key" if budget.api_key_id else "tenant"
    known: Mapping[Any, Any] = {
        (scope, period): row for period, *row in rows.values_list("period", *COUNTED)
    }
    (fill,) = fills_of(scope, [limit], Counters(now, budget.tenant.timezone, known, {}))
    return fill


def limit_row(metric: Any, period: Any, limit: Decimal, burst: int | None, raises: Any) -> Limit:
    """A limit from a budget's columns and `raises.standing` as text."""
    return limit_of(metric, period, limit, burst, json.loads(raises or "[]"))


def fullest(
    scope: Literal["team", "key"], tenant: Tenant, now: datetime, *, percent: int, most: int
) -> list[tuple[Owner, int, Fill]]:
    """The day and month budgets of the tenant's teams or keys that are at least so full, the
    fullest first, each with its budget's id. One query.
    """
    params: dict[str, Any] = {"tenant_id": tenant.pk, "now": now, "percent": percent, "most": most}
    with connection.cursor() as cursor:
        cursor.execute(_FULLEST[scope], params)
        rows = cursor.fetchall()
    found = []
    for owner_id, name, budget_id, metric, period, limit, raises, *row in rows:
        owner = Owner(scope, owner_id, name)
        windows: Mapping[Any, Any] = {(scope, period): row}
        counters = Counters(now, tenant.timezone, windows=windows, buckets={})
        limits = [limit_row(metric, period, limit, None, raises)]
        (fill,) = fills_of(scope, limits, counters)
        found.append((owner, budget_id, fill))
    return found


COUNTED = ("requests", "tokens", "cost", "held_requests", "held_tokens", "held_cost")

_LIMIT_ROW = f'metric, period, "limit", burst, {standing()}::text FROM tenants_app_budget budget'
_LIMIT = f"SELECT {_LIMIT_ROW} WHERE id = %s"
_LIMITS = f"""
SELECT id, {_LIMIT_ROW} WHERE tenant_id = %s AND team_id IS NULL AND api_key_id IS NULL
"""


def _fullest(owner: str, windows: str) -> str:
    """Of budgets `b`, whose they are and which windows are theirs; before the first request of a
    period there is none.
    """
    counted = ", ".join(f"coalesce(w.{name}, 0)" for name in COUNTED)
    return f"""
SELECT {owner}, b.id, b.metric, b.period, b."limit", {standing("b")}::text, {counted}
FROM tenants_app_budget b {windows}
    AND w.period = b.period AND w.starts_at <= %(now)s AND w.ends_at > %(now)s,
LATERAL (SELECT coalesce(CASE b.metric WHEN 'requests' THEN w.requests + w.held_requests
    WHEN 'tokens' THEN w.tokens + w.held_tokens ELSE w.cost + w.held_cost END
    / {limit_at("%(now)s", "b")}, 0) AS share) fill
WHERE b.tenant_id = %(tenant_id)s AND b.period IN ('day', 'month')
    AND fill.share * 100 >= %(percent)s
ORDER BY fill.share DESC, b.id LIMIT %(most)s
"""


_FULLEST = {
    "team": _fullest(
        "team.id, team.slug",
        """JOIN tenants_app_team team ON team.id = b.team_id
LEFT JOIN usage_app_usagewindow w ON w.tenant_id = b.tenant_id AND w.api_key_id IS NULL
    AND w.team_id = b.team_id""",
    ),
    "key": _fullest(
        "key.id, key.name",
        """JOIN tenants_app_apikey key ON key.id = b.api_key_id AND key.revoked_at IS NULL
JOIN usage_app_usagewindow w ON w.tenant_id = b.tenant_id AND w.api_key_id = b.api_key_id
    AND w.team_id IS NULL""",
    ),
}


def has_usage(tenant: Tenant) -> bool:
    """Whether the books count days for this tenant; its time zone is frozen then."""
    return bool(UsageWindow.objects.for_tenant(tenant).exists())


def is_used(price: Price) -> bool:
    """Whether an entry or a hold was charged at this price; it is frozen then."""
    if Reservation.objects.filter(price=price).exists():
        return True
    entries = LedgerEntry.objects.filter(price=price, created_at__gte=price.valid_from)
    return entries.exists()


def margin_now(tenant: Tenant, now: datetime) -> Decimal:
    """What the tenant pays on top of a cost of this moment, in percent."""
    day = local_day(now, tenant.timezone)
    newest = Margin.objects.for_tenant(tenant).filter(valid_from__lte=day).order_by("-valid_from")
    percent: Decimal | None = newest.values_list("percent", flat=True).first()
    return percent or Decimal(0)
