"""The front page's cards about the books: each for those who may see its figures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from tenants_app.admin.sections import Section
from usage_app.admin import budget_bars
from usage_app.admin.budget_bars import Bar
from usage_app.amounts import readable
from usage_app.figures import Span
from usage_app.models import ProviderBill, Statement
from usage_app.overview import books as of_books
from usage_app.overview import month, today, trends
from usage_app.overview.books import Compared, Holds
from usage_app.overview.look import Look
from usage_app.overview.month import Month
from usage_app.overview.nearly_full import Full, nearly_full
from usage_app.overview.today import Busy, Refused
from usage_app.reports.chart import Chart, Point, chart
from usage_app.reports.page import told
from usage_app.reports.query import ReportQuery
from usage_app.statements.closing import Waiting

BARS_SHOWN: Final = 10
ROWS_SHOWN: Final = 6
_TEMPLATES: Final = "usage_app/cards"


@dataclass(frozen=True, slots=True)
class Glance:
    """Figures as title, value and what else there is to say; `as_of` is the roll-ups' moment."""

    figures: Sequence[tuple[str, str, str]]
    busiest: Sequence[Busy]
    currency: str
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class Trends:
    """Charts of days, which are of this moment, and of hours, as of the last roll-up."""

    days: Sequence[Chart]
    hours: Sequence[Chart]
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class Nearly:
    """Budgets that are nearly used up, and how many more there are than are shown."""

    bars: Sequence[Bar]
    others: int


@dataclass(frozen=True, slots=True)
class Refusals:
    """The most frequent of the last day."""

    rows: Sequence[Refused]


@dataclass(frozen=True, slots=True)
class Money:
    """The month by tenant."""

    month: Month
    currency: str
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class ToClose:
    """Months that are over; `has_more` than are shown."""

    rows: Sequence[Waiting]
    has_more: bool
    may_close: bool


@dataclass(frozen=True, slots=True)
class Bills:
    """Providers' bills that do not agree with the books, each with its difference in money."""

    rows: Sequence[tuple[ProviderBill, str]]
    currency: str


@dataclass(frozen=True, slots=True)
class Books:
    """Whether the books agree, and what is held."""

    compared: Compared | None
    holds: Holds | None
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True)
class Closed:
    """The newest statements."""

    rows: Sequence[Statement]


def glance(request: HttpRequest, look: Look) -> Section | None:
    """Today and this month."""
    user = request.user
    if not user.has_perm("usage_app.view_usagewindow"):
        return None
    live = today.live(look)
    now, so_far, currency = live.today, live.month, settings.LEDGER_CURRENCY
    figures = [
        ("Requests today", f"{now.requests:,}", f"{so_far.requests:,} this month"),
        ("Tokens today", f"{now.tokens:,}", f"{so_far.tokens:,} this month"),
        (f"Cost today, {currency}", now.cost_told, f"{so_far.cost_told} this month"),
    ]
    if user.has_perm("usage_app.view_refusalcount"):
        day, whole = today.refusals(look)
        figures.append(("Refused today", f"{day:,}", f"{whole:,} this month"))
    as_of = None
    if user.has_perms(("usage_app.view_dailyusage", "usage_app.view_monthlyusage")):
        figures += _rates(look)
        as_of = look.rolled_up_to
    data = Glance(figures, live.busiest, currency, as_of)
    return Section("now", "Today", f"{_TEMPLATES}/glance.html", data, _report(user))


def _rates(look: Look) -> list[tuple[str, str, str]]:
    day, so_far = today.rates(look)
    slow = [
        (title, told(now) or "none yet", f"{told(then) or 'none yet'} this month")
        for title, now, then in (
            ("95 % answered today within", day.latency, so_far.latency),
            ("95 % of first tokens within", day.ttft, so_far.ttft),
        )
    ]
    return [("Errors today", day.error_rate, f"{so_far.error_rate} this month"), *slow]


def _report(user: Any) -> tuple[str, str] | None:
    allowed = user.has_perm("usage_app.view_ledgerentry")
    return ("The usage report", reverse("usage_report")) if allowed else None


def over_time(request: HttpRequest, look: Look) -> Section | None:
    """The last 30 days, and the last 24 hours."""
    user = request.user
    if not user.has_perm("usage_app.view_usagewindow"):
        return None
    leads = user.has_perm("usage_app.view_ledgerentry")
    sees_hours = user.has_perms(("usage_app.view_hourlyusage", "usage_app.view_refusalcount"))
    data = Trends(_days(look, leads=leads), _hours(look) if sees_hours else (), look.rolled_up_to)
    return Section("trends", "The last 30 days", f"{_TEMPLATES}/trends.html", data)


def _days(look: Look, *, leads: bool) -> list[Chart]:
    days = trends.days(look)
    url = reverse("usage_report")
    reports = {
        day.day: f"{url}?{ReportQuery(Span(day.day, day.day)).as_query()}" if leads else ""
        for day in days
    }
    cost = f"Cost, {settings.LEDGER_CURRENCY}"
    return [
        chart(
            "Requests", [Point(d.day, d.requests, f"{d.requests:,}", reports[d.day]) for d in days]
        ),
        chart("Tokens", [Point(d.day, d.tokens, f"{d.tokens:,}", reports[d.day]) for d in days]),
        chart(cost, [Point(d.day, d.cost, readable(d.cost), reports[d.day]) for d in days]),
    ]


def _hours(look: Look) -> list[Chart]:
    hours = trends.hours(look)
    columns = (
        ("Requests", [hour.requests for hour in hours]),
        ("Errors", [hour.errors for hour in hours]),
        ("Refusals", [hour.refusals for hour in hours]),
    )
    return [
        chart(
            title,
            [Point(at.hour, n, f"{n:,}", "") for at, n in zip(hours, numbers, strict=True)],
        )
        for title, numbers in columns
    ]


def budgets(request: HttpRequest, look: Look) -> Section | None:
    """Who is near or over a budget."""
    user = request.user
    if not user.has_perms(("usage_app.view_usagewindow", "tenants_app.view_budget")):
        return None
    found, count = nearly_full(look, BARS_SHOWN)
    leads = user.has_perm("tenants_app.view_tenant")
    data = Nearly([_bar(full, leads=leads) for full in found], count - len(found))
    more = ("All budgets", reverse("admin:tenants_app_budget_changelist"))
    return Section("budgets", "Near or over budget", f"{_TEMPLATES}/budgets.html", data, more)


def _bar(full: Full, *, leads: bool) -> Bar:
    bar = budget_bars.bar(full.fill, full.counters, full.owner)
    page = reverse("admin:tenants_app_tenant_change", args=[full.tenant_id])
    href = f"{page}#budgets" if leads else ""
    return replace(bar, title=f"{full.tenant}: {bar.title}", href=href)


def refusals(request: HttpRequest, look: Look) -> Section | None:
    """What was refused most."""
    if not request.user.has_perm("usage_app.view_refusalcount"):
        return None
    data = Refusals(today.refused(look, ROWS_SHOWN))
    more = ("By hour and key", reverse("admin:usage_app_refusalcount_changelist"))
    return Section(
        "refusals", "Refused in the last 24 hours", f"{_TEMPLATES}/refusals.html", data, more
    )


def money_of_month(request: HttpRequest, look: Look) -> Section | None:
    """This month by tenant."""
    user = request.user
    if not user.has_perm("usage_app.view_monthlyusage"):
        return None
    spent = month.by_tenant(look, ROWS_SHOWN)
    data = Money(spent, settings.LEDGER_CURRENCY, look.rolled_up_to)
    return Section("month", "This month by tenant", f"{_TEMPLATES}/month.html", data, _report(user))


def to_close(request: HttpRequest, look: Look) -> Section | None:
    """Months that are over and not closed."""
    user = request.user
    if look.within is not None or not user.has_perm("usage_app.view_statement"):
        return None
    rows, has_more = month.to_close(ROWS_SHOWN)
    data = ToClose(rows, has_more, user.has_perm("usage_app.close_month"))
    more = ("Statements", reverse("admin:usage_app_statement_changelist"))
    return Section("to-close", "Months to close", f"{_TEMPLATES}/to_close.html", data, more)


def bills(request: HttpRequest, look: Look) -> Section | None:
    """Providers' bills that do not agree."""
    if look.within is not None or not request.user.has_perm("usage_app.view_providerbill"):
        return None
    rows = [
        (bill, "not told" if bill.difference is None else readable(bill.difference))
        for bill in month.disagreeing(ROWS_SHOWN)
    ]
    data = Bills(rows, settings.LEDGER_CURRENCY)
    more = ("Provider bills", reverse("admin:usage_app_providerbill_changelist"))
    return Section("bills", "Bills that disagree", f"{_TEMPLATES}/bills.html", data, more)


def books(request: HttpRequest, look: Look) -> Section | None:
    """Drift and open holds."""
    user = request.user
    sees_runs = look.within is None and user.has_perm("usage_app.view_reconciliation")
    compared = of_books.compared(look) if sees_runs else None
    sees_holds = user.has_perm("usage_app.view_reservation")
    holds = of_books.holds(look) if sees_holds else None
    if compared is None and holds is None:
        return None
    data = Books(compared, holds, _warnings(compared, holds))
    return Section("books", "The books", f"{_TEMPLATES}/books.html", data)


def _warnings(compared: Compared | None, holds: Holds | None) -> list[str]:
    found = []
    if compared and compared.drifts:
        found.append(f"The books do not agree: {compared.drifts:,} figures drifted.")
    if compared and compared.run and compared.is_stale:
        found.append("The books were not compared last night.")
    if holds and holds.is_too_old:
        found.append("A hold is older than any request can be: the sweep does not run.")
    return found


def statements(request: HttpRequest, look: Look) -> Section | None:
    """What was closed last."""
    if not request.user.has_perm("usage_app.view_statement"):
        return None
    data = Closed(of_books.closed(look, ROWS_SHOWN))
    more = ("All statements", reverse("admin:usage_app_statement_changelist"))
    return Section("statements", "Closed last", f"{_TEMPLATES}/statements.html", data, more)
