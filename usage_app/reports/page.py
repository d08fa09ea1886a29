"""The usage report as a page shows it: rows with links to what is behind them, the sums, the period
before, and charts. No HTTP; the files of it are `report_files`'.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from django.urls import reverse
from django.utils.http import urlencode

from tenants_app.models import Tenant
from usage_app import rollups, selectors
from usage_app.amounts import readable
from usage_app.figures import Span
from usage_app.histograms import Between
from usage_app.reports.chart import Chart, Point, chart
from usage_app.reports.lines import WITHOUT_CENTER, WITHOUT_MODEL, WITHOUT_TEAM, Line
from usage_app.reports.query import WITHOUT, ReportQuery
from usage_app.snapshot import snapshot

ROWS_A_PAGE: Final = 100
HEADINGS: Final = {
    "tenant": ("Tenant",),
    "costCenter": ("Cost centre",),
    "model": ("Model",),
    "team": ("Tenant", "Team"),
    "key": ("Tenant", "Team", "Key"),
    "day": ("Day",),
    "detail": ("Tenant", "Cost centre", "Team", "Key", "Model"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what it is called, where its name leads, and where its entries are."""

    names: Sequence[str]
    line: Line
    href: str = ""
    entries: str = ""

    @property
    def cost(self) -> tuple[str, str] | None:
        """The exact cost as what is read and the zeros after it; None when it is not known."""
        cost = self.line.figures.known_cost
        return None if cost is None else split_zeros(f"{cost:,.10f}")

    @property
    def price(self) -> tuple[str, str] | None:
        """The exact price, in the same way."""
        price = self.line.figures.known_price
        return None if price is None else split_zeros(f"{price:,.16f}")

    @property
    def estimated(self) -> str:
        return percent(self.line.figures.estimated_share)

    @property
    def unpriced(self) -> str:
        return percent(self.line.figures.unpriced_share)

    @property
    def latencies(self) -> Sequence[str]:
        """p50 and p95 of whole answers, then of their first tokens."""
        line = self.line
        found = (line.latency_at(50), line.latency_at(95), line.ttft_at(50), line.ttft_at(95))
        return [told(between) for between in found]


@dataclass(frozen=True, slots=True)
class Figure:
    """One sum in large: how much more or less than before, and what else there is to say."""

    title: str
    value: str
    change: str
    more: str


@dataclass(frozen=True, slots=True)
class Report:
    """A page of a report: some of its `rows`, how many there are, and the sums of all of them."""

    query: ReportQuery
    headings: Sequence[str]
    rows: Sequence[Row]
    count: int
    total: Row
    before: Row
    charts: Sequence[Chart]


def read(query: ReportQuery, tenant: Tenant | None, *, page: int = 1) -> Report:
    """The report's page, all of it as of one moment; the sums are of the whole report. Five
    queries, and those of a transaction.
    """
    earlier = replace(query, span=query.span.before)
    with snapshot():
        since = rollups.mark()
        days = selectors.report_days(query, tenant, since, histograms=False)
        total = selectors.report_total(query, tenant, since)
        before = selectors.report_total(earlier, tenant, since, histograms=False)
        lines, count = selectors.report_page(
            query, tenant, since, limit=ROWS_A_PAGE, offset=(page - 1) * ROWS_A_PAGE
        )
    headings = headings_of(query, lines)
    return Report(
        query,
        headings,
        [row_of(query, tenant, line, headings) for line in lines],
        count,
        total=Row(("Total",), total, entries=entries_url(query, tenant, Line())),
        before=Row((), before),
        charts=charts(query, days),
    )


def figures(report: Report) -> Sequence[Figure]:
    """The sums of the report in large, each beside the period before."""
    now, before = report.total.line, report.before.line
    f, b = now.figures, before.figures
    p50, p95, first50, first95 = report.total.latencies
    refused = "" if now.refusals is None else f"{now.refusals:,}"
    return [
        Figure("Price", readable(f.price), change(f.price, b.price), f"cost {readable(f.cost)}"),
        Figure(
            "Requests",
            f"{f.requests:,}",
            change(f.requests, b.requests),
            f"{f.attempts:,} attempts, {f.errors:,} errors",
        ),
        Figure(
            "Refused",
            refused or "not known",
            change(now.refusals or 0, before.refusals or 0),
            "before any model was asked" if refused else "A refused call has no model yet",
        ),
        Figure(
            "Tokens",
            f"{f.total_tokens:,}",
            change(f.total_tokens, b.total_tokens),
            f"{f.input_tokens:,} in ({f.cached_tokens:,} cached), {f.output_tokens:,} out",
        ),
        Figure("Latency", p50 or "none", "", f"the median; 95 % within {p95}" if p95 else ""),
        Figure(
            "First token",
            first50 or "none",
            "",
            f"the median; 95 % within {first95}" if first95 else "",
        ),
    ]


def sentences(report: Report) -> Sequence[str]:
    """What one must know of the figures."""
    row = report.total
    return [
        *([f"{row.estimated} of these tokens are estimated."] if row.estimated else []),
        *(
            [f"{row.unpriced} of them have no known price and are not in the cost."]
            if row.unpriced
            else []
        ),
    ]


def charts(query: ReportQuery, days: Sequence[Line]) -> Sequence[Chart]:
    """What the days cost the tenants, and their tokens; each bar leads to its day."""
    by_day = {line.day: line for line in days}
    first = query.span.first
    span = [first + timedelta(days=number) for number in range(query.span.days)]
    figures = [(day, by_day.get(day, Line()).figures) for day in span]
    return [
        chart("Price", [Point(d, f.price, readable(f.price), _day(query, d)) for d, f in figures]),
        chart(
            "Tokens",
            [Point(d, f.total_tokens, f"{f.total_tokens:,}", _day(query, d)) for d, f in figures],
        ),
    ]


def headings_of(query: ReportQuery, lines: Sequence[Line]) -> Sequence[str]:
    """What the names of these lines are; the teams of keys are told where there are any."""
    names = HEADINGS[query.group_by]
    if query.group_by == "team" or any(line.team for line in lines):
        return names
    return [name for name in names if name != "Team"]


def row_of(query: ReportQuery, tenant: Tenant | None, line: Line, headings: Sequence[str]) -> Row:
    """A line with its names and its links."""
    centre = WITHOUT_CENTER if line.cost_center == "" else line.cost_center
    names = {
        "Tenant": line.tenant,
        "Cost centre": centre,
        "Team": line.team or WITHOUT_TEAM,
        "Key": line.key,
        "Model": line.model or WITHOUT_MODEL,
        "Day": f"{line.day:%Y-%m-%d}" if line.day else "",
    }
    told_names = [str(names[heading]) for heading in headings]
    return Row(told_names, line, _narrower(query, line), entries_url(query, tenant, line))


def entries_url(query: ReportQuery, tenant: Tenant | None, line: Line) -> str:
    """The ledger's page of exactly the entries that a line adds up."""
    key = line.key_id if line.key_id is not None else query.key
    center = line.cost_center if line.cost_center is not None else query.cost_center
    model = line.model if line.model is not None else query.model
    no_key = query.key == 0 or (line.key is not None and line.key_id is None)
    by_team = line.key is None and line.team is not None
    team, team_id = (line.team, line.team_id) if by_team else (query.team, query.team_id)
    asked = {
        "local_day_from": f"{line.day or query.span.first}",
        "local_day_to": f"{line.day or query.span.last}",
        "tenant__id__exact": line.tenant_id or (tenant.pk if tenant else None),
        "api_key__id__exact": None if no_key else key,
        "api_key__isnull": "True" if no_key else None,
        "api_key__team__id__exact": team_id,
        "api_key__team__isnull": "True" if team == "" else None,
        "cost_center": WITHOUT if center == "" else center,
        "model": WITHOUT if model == "" else model,
    }
    url = reverse("admin:usage_app_ledgerentry_changelist")
    return f"{url}?{urlencode({name: text for name, text in asked.items() if text is not None})}"


def _narrower(query: ReportQuery, line: Line) -> str:
    """The same report of this line alone, by what it does not know yet."""
    if query.group_by == "day":
        return _day(query, line.day or query.span.first)
    key = query.key if line.key is None else line.key_id or 0
    narrow = replace(
        query,
        tenant=line.tenant or query.tenant,
        cost_center=query.cost_center if line.cost_center is None else line.cost_center,
        model=query.model if line.model is None else line.model,
        team=line.team if query.group_by == "team" else query.team,
        key=key,
    )
    known = {"tenant": narrow.tenant, "model": narrow.model, "key": narrow.key}
    unknown = [name for name, value in known.items() if value is None]
    return "?" + replace(narrow, group_by=(*unknown, "day")[0]).as_query()


def _day(query: ReportQuery, day: date) -> str:
    group_by = "model" if query.group_by == "day" and query.tenant else query.group_by
    group_by = "tenant" if group_by == "day" else group_by
    return "?" + replace(query, span=Span(day, day), group_by=group_by).as_query()


def change(now: Decimal | int, before: Decimal | int) -> str:
    """How much more or less than before."""
    if not before:
        return ""
    return f"{Decimal(now - before) / abs(Decimal(before)) * 100:+,.1f} %"


def told(between: Between | None) -> str:
    """A percentile as the bucket it lies in."""
    if between is None:
        return ""
    if between.below_ms is None:
        return f"over {between.from_ms / 1000:g} s"
    if between.below_ms < 1000:
        return f"{between.from_ms} to {between.below_ms} ms"
    return f"{between.from_ms / 1000:g} to {between.below_ms / 1000:g} s"


def percent(share: float) -> str:
    """A share to read; nothing when there is none."""
    if not share:
        return ""
    return "< 0.1 %" if share < 0.001 else f"{share * 100:.1f} %"


def split_zeros(amount: str) -> tuple[str, str]:
    """Everything up to the last digit that counts, two decimals at least, and the zeros behind."""
    whole, decimals = amount.split(".")
    shown = decimals.rstrip("0").ljust(2, "0")
    return f"{whole}.{shown}", decimals[len(shown) :]
