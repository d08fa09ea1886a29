"""Parts of a tenant's page that the books offer: how full budgets are, what was used, why requests
were refused, and the newest entries. All but the entries, a few of the newest by their index, come
from windows, roll-ups and counts.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection
from django.db.models import Max, Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from tenants_app.admin.sections import Section, list_url
from tenants_app.models import Tenant
from usage_app import rollups, selectors
from usage_app.admin import budget_bars
from usage_app.admin.budget_bars import Sight
from usage_app.admin.refusal_words import UNKNOWN, WORDS, Words
from usage_app.amounts import readable
from usage_app.figures import Span
from usage_app.models import LedgerEntry, RefusalCount
from usage_app.periods import local_day
from usage_app.reports.chart import Chart, Point, chart
from usage_app.reports.lines import Line, sum_of
from usage_app.reports.page import percent, told
from usage_app.reports.query import ReportQuery

DAYS: Final = 30
ENTRIES_SHOWN: Final = 10
KEYS_NAMED: Final = 3
A_DAY, A_WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Usage:
    """The last days of a tenant: sums, and charts whose bars lead to the report of their day."""

    span: Span
    currency: str
    figures: Sequence[tuple[str, str, str]]
    charts: Sequence[Chart]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why requests were refused: how often within the last day and week, and whose they were."""

    code: str
    words: Words
    last_day: int
    last_week: int
    latest: datetime
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry as a line of the page; times are the tenant's, by the clock of `zone`."""

    entry: LedgerEntry
    at: str
    zone: str
    cost: str
    label: str


def budgets(request: HttpRequest, tenant: Tenant) -> Section | None:
    """How full the budgets are now."""
    user = request.user
    if not user.has_perm("usage_app.view_usagewindow"):
        return None
    sight = Sight.of(user)
    data = budget_bars.read(tenant, sight)
    all_url = list_url("tenants_app.budget", tenant)
    more = ("All budgets, of teams and keys too", all_url) if sight.budgets else None
    template = "usage_app/sections/budgets.html"
    return Section("budgets", "Budgets now", template, data, more, is_live=True)


def usage(request: HttpRequest, tenant: Tenant) -> Section | None:
    """The last 30 days, by the tenant's calendar."""
    if not request.user.has_perm("usage_app.view_ledgerentry"):
        return None
    today = local_day(timezone.now(), tenant.timezone)
    span = Span(today - timedelta(days=DAYS - 1), today)
    query = ReportQuery(span, tenant=tenant.slug, group_by="day")
    lines = selectors.report_days(query, tenant, rollups.mark())
    data = Usage(span, settings.LEDGER_CURRENCY, _figures(sum_of(lines)), _charts(query, lines))
    more = ("The usage report", f"{reverse('usage_report')}?{query.as_query()}")
    return Section("usage", "The last 30 days", "usage_app/sections/usage.html", data, more)


def refusals(request: HttpRequest, tenant: Tenant) -> Section | None:
    """Why its requests were refused within the last week."""
    if not request.user.has_perm("usage_app.view_refusalcount"):
        return None
    more = ("By hour and key", list_url("usage_app.refusalcount", tenant))
    data = reasons(tenant, timezone.now())
    return Section("refusals", "Refusals", "usage_app/sections/refusals.html", data, more)


def entries(request: HttpRequest, tenant: Tenant) -> Section | None:
    """The newest entries of its ledger."""
    if not request.user.has_perm("usage_app.view_ledgerentry"):
        return None
    newest = LedgerEntry.objects.for_tenant(tenant).select_related("api_key")
    zone = ZoneInfo(tenant.timezone)
    rows = [
        EntryRow(
            entry,
            f"{entry.created_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            tenant.timezone,
            readable(entry.cost),
            LABELS[entry.outcome],
        )
        for entry in newest.order_by("-created_at")[:ENTRIES_SHOWN]
    ]
    more = ("Its ledger", list_url("usage_app.ledgerentry", tenant))
    return Section("entries", "Last requests", "usage_app/sections/entries.html", rows, more)


LABELS: Final = {"ok": "success", "error": "danger", "aborted": "warning", "expired": "warning"}


def reasons(tenant: Tenant, now: datetime) -> Sequence[Reason]:
    """By code, the most frequent of the last day first. Two queries."""
    week = RefusalCount.objects.for_tenant(tenant).filter(hour__gt=now - A_WEEK)
    by_code = week.values("code").annotate(
        day=Sum("refusals", filter=Q(hour__gt=now - A_DAY), default=0),
        week=Sum("refusals"),
        latest=Max("hour"),
    )
    rows = list(by_code.order_by("-day", "-week", "code"))
    keys = _keys_of(tenant, now - A_WEEK)
    return [
        Reason(
            row["code"],
            WORDS.get(row["code"], UNKNOWN),
            row["day"],
            row["week"],
            row["latest"],
            keys.get(row["code"], ()),
        )
        for row in rows
    ]


def _keys_of(tenant: Tenant, since: datetime) -> Mapping[str, Sequence[str]]:
    """The keys that were refused most with each code."""
    params: dict[str, Any] = {"tenant_id": tenant.pk, "since": since, "most": KEYS_NAMED}
    found: dict[str, list[str]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_MOSTLY, params)
        for code, name in cursor:
            found[code].append(name or "no key")
    return found


_MOSTLY = """
SELECT code, name FROM (
    SELECT r.code, key.name, row_number() OVER (
        PARTITION BY r.code ORDER BY sum(r.refusals) DESC, r.api_key_id
    ) AS place
    FROM usage_app_refusalcount r LEFT JOIN tenants_app_apikey key ON key.id = r.api_key_id
    WHERE r.tenant_id = %(tenant_id)s AND r.hour > %(since)s
    GROUP BY r.code, r.api_key_id, key.name
) counted WHERE place <= %(most)s ORDER BY code, place
"""


def _figures(line: Line) -> Sequence[tuple[str, str, str]]:
    """Title, value, and what else there is to say."""
    f = line.figures
    errors = percent(f.errors / f.requests) if f.requests else ""
    latency, ttft = told(line.latency_at(95)), told(line.ttft_at(95))
    return [
        ("Requests", f"{f.requests:,}", f"{errors or 'no'} errors"),
        ("Tokens", f"{f.total_tokens:,}", f"{f.input_tokens:,} in, {f.output_tokens:,} out"),
        (
            f"Price, {settings.LEDGER_CURRENCY}",
            readable(f.known_price),
            f"cost {readable(f.known_cost)}",
        ),
        ("95 % answered within", latency or "no answer", f"first token {ttft}" if ttft else ""),
    ]


def _charts(query: ReportQuery, lines: Sequence[Line]) -> Sequence[Chart]:
    by_day = {line.day: line.figures for line in lines}
    days = [query.span.first + timedelta(days=number) for number in range(query.span.days)]
    figures = [(day, by_day.get(day, Line().figures)) for day in days]
    values: list[tuple[str, list[Decimal | int]]] = [
        ("Requests", [f.requests for _, f in figures]),
        ("Tokens", [f.total_tokens for _, f in figures]),
        (f"Price, {settings.LEDGER_CURRENCY}", [f.price for _, f in figures]),
    ]
    return [
        chart(
            title,
            [
                Point(day, value, _told(value), _report_of(query, day))
                for day, value in zip(days, column, strict=True)
            ],
        )
        for title, column in values
    ]


def _told(value: Decimal | int) -> str:
    return readable(value) if isinstance(value, Decimal) else f"{value:,}"


def _report_of(query: ReportQuery, day: date) -> str:
    asked = replace(query, span=Span(day, day), group_by="key")
    return f"{reverse('usage_report')}?{asked.as_query()}"
