"""Closes a tenant's month: what stands against it, and the statement that freezes it, in one
transaction. It writes statements and nothing else.
"""

from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal, localcontext
from typing import Any, Literal

from django.conf import settings
from django.db import connection, transaction

from tenants_app.models import Tenant
from usage_app import months, reconciliation, rollups, selectors
from usage_app.bills import provider_bills
from usage_app.currencies import minor_unit, rounded
from usage_app.figures import MONEY_DIGITS, Figures, Span
from usage_app.models import Drift, Statement, StatementDay, StatementLine
from usage_app.periods import month_period, next_month
from usage_app.prices import repricing
from usage_app.statements import sql
from usage_app.statements.files import checksum

LINES_BY = ("cost_center", "model")
EVERYTHING = "-infinity"
PRICED = "Every token has a price"
State = Literal["good", "open", "stop"]


@dataclass(frozen=True, slots=True)
class Point:
    """One question before a close: `stop` keeps the month open, `open` becomes a remark."""

    title: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Checklist:
    """All questions about one month of a tenant."""

    tenant: Tenant
    month: date
    points: tuple[Point, ...]

    @property
    def can_close(self) -> bool:
        return not self.against

    @property
    def wants_a_look(self) -> bool:
        """Whether it has requests that cost nothing only because their price is not known."""
        return any(point.state == "open" and point.title == PRICED for point in self.points)

    @property
    def against(self) -> list[str]:
        """Why the month cannot be closed now."""
        return [point.text for point in self.points if point.state == "stop"]

    @property
    def remarks(self) -> list[str]:
        """What is known to be open, and does not keep the month from being closed."""
        return [point.text for point in self.points if point.state == "open"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A month that is over, has usage, and is not closed."""

    tenant_id: int
    slug: str
    name: str
    month: date


class CannotClose(Exception):
    """The month stays open; `checklist` says why."""

    def __init__(self, checklist: Checklist) -> None:
        super().__init__(" ".join(checklist.against))
        self.checklist = checklist


def check(tenant: Tenant, month: date) -> Checklist:
    """Ask everything that a close asks, and change nothing. `month` is its first day."""
    over = _over(tenant, month)
    points = (over,) if over.state == "stop" else (over, *_points(tenant, month))
    return Checklist(tenant, month, points)


def close_due(days: int, *, by: str) -> tuple[list[Statement], list[Checklist]]:
    """Close every month that was over `days` ago, the oldest first, but for those that cannot be,
    or of which somebody should look at the unpriced requests; answers with both.
    """
    closed: list[Statement] = []
    left: list[Checklist] = []
    for one in waiting(days=days):
        tenant = Tenant.objects.get(pk=one.tenant_id)
        checklist = check(tenant, one.month)
        if not checklist.can_close or checklist.wants_a_look:
            left.append(checklist)
            continue
        try:
            closed.append(close(tenant, one.month, by=by))
        except CannotClose as error:
            left.append(error.checklist)
    return closed, left


def waiting(*, days: int = 0, most: int | None = None) -> list[Waiting]:
    """The months that were over `days` ago and are not closed, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(sql.WAITING, {"days": days, "most": most})
        return [Waiting(*row) for row in cursor.fetchall()]


def close(tenant: Tenant, month: date, *, by: str) -> Statement:
    """Freeze the month as a statement, in one transaction. Raises CannotClose, and then nothing has
    changed.

    Locks the month's window of the tenant, which everything that admits, settles or expires its
    requests locks, and then its months, for which all other entries and margins ask. So what began
    before is in the statement, and what comes after meets a closed month.
    """
    with transaction.atomic():
        over = _over(tenant, month)
        if over.state == "stop":
            raise CannotClose(Checklist(tenant, month, (over,)))
        _lock(tenant, month)
        checklist = check(tenant, month)
        if not checklist.can_close:
            raise CannotClose(checklist)
        return _freeze(checklist, by)


def _over(tenant: Tenant, month: date) -> Point:
    """By the database's clock, as admissions are."""
    period = month_period(month, tenant.timezone)
    title = f"{month:%B %Y} is over in {tenant.timezone}"
    if _ask(sql.CLOCK, {})[0] < period.ends_at:
        ends = f"{period.ends_at:%Y-%m-%d %H:%M}"
        return Point(title, "stop", f"The month is still running: it ends at {ends} UTC.")
    return Point(title, "good", f"It ended at {period.ends_at:%Y-%m-%d %H:%M} UTC.")


def _lock(tenant: Tenant, month: date) -> None:
    starts_at = month_period(month, tenant.timezone).starts_at
    with connection.cursor() as cursor:
        cursor.execute(sql.LOCK_WINDOW, {"tenant_id": tenant.pk, "starts_at": starts_at})
        cursor.execute(sql.LOCK_MONTHS, {"tenant_id": tenant.pk})


def _points(tenant: Tenant, month: date) -> tuple[Point, ...]:
    last = months.last_closed(tenant)
    if last and month <= last.month:
        told = f"{last.month:%B %Y} is closed, and so are all months before it."
        return (Point("It is open", "stop", told),)
    figures = _figures(tenant, month, rollups.mark())
    return (
        _order(tenant, month, last),
        _holds(tenant, month),
        _some(tenant, month),
        _rolled_up(tenant, month),
        _drift(tenant, month, figures),
        _reconciled(tenant, month),
        _priced(tenant, month),
        *_bills(tenant, month),
    )


def _order(tenant: Tenant, month: date, last: Statement | None) -> Point:
    title = "The months before it are closed"
    open_from = next_month(last.month) if last else date.min
    (day,) = _ask(sql.EARLIER, {**_of(tenant, month), "open_from": open_from})
    if day is not None:
        return Point(title, "stop", f"{day:%B %Y} has entries and is not closed yet.")
    told = f"The last one is {last.month:%B %Y}." if last else "There is none with entries."
    return Point(title, "good", told)


def _holds(tenant: Tenant, month: date) -> Point:
    title = "None of its requests is under way"
    count, since = _ask(sql.OPEN_HOLDS, _of(tenant, month))
    if count:
        told = f"{count:,} admitted in it hold budgets, since {since:%Y-%m-%d %H:%M} UTC."
        return Point(title, "stop", told)
    return Point(title, "good", "No hold of this month is open.")


def _some(tenant: Tenant, month: date) -> Point:
    (count,) = _ask(sql.COUNT, _of(tenant, month))
    if not count:
        return Point("It has entries", "stop", "There is nothing to close.")
    return Point("It has entries", "good", f"{count:,} entries.")


def _rolled_up(tenant: Tenant, month: date) -> Point:
    title = "Its roll-ups are up to date"
    (days,) = _ask(sql.BEHIND, {**_of(tenant, month), "since": rollups.mark()})
    if days:
        told = f"Entries of {days} days wait to be rolled up: a matter of minutes."
        return Point(title, "stop", told)
    return Point(title, "good", "They hold every entry.")


def _drift(tenant: Tenant, month: date, rolled_up: list[Any]) -> Point:
    """Every figure of every line, twice: from the roll-ups and from the entries."""
    title = "Roll-ups and ledger agree"
    entries = dict(_figures(tenant, month, EVERYTHING))
    found = dict(rolled_up)
    differing = [line for line in {*entries, *found} if entries.get(line) != found.get(line)]
    if differing:
        lines = ", ".join(sorted(" / ".join(filter(None, line)) or "credits" for line in differing))
        return Point(title, "stop", f"They differ in {lines}: roll the month up again.")
    return Point(title, "good", "They are equal in every figure.")


def _priced(tenant: Tenant, month: date) -> Point:
    requests, tokens = repricing.unpriced(tenant, Span.month(month))
    if requests:
        told = f"{requests:,} requests with {tokens:,} tokens have no price and cost nothing here."
        return Point(PRICED, "open", told)
    return Point(PRICED, "good", "No entry is unpriced.")


def _reconciled(tenant: Tenant, month: date) -> Point:
    """What is held at this moment is no matter of a month that is over."""
    title = "Its windows and roll-ups are reconciled"
    found = reconciliation.compare(tenant, Span.month(month)).drifts
    drifts = [drift for drift in found if drift.book != Drift.Book.HOLDS]
    if drifts:
        told = f"{len(drifts):,} figures drift, the first in {drifts[0]}: see Reconciliation."
        return Point(title, "stop", told)
    return Point(title, "good", "No figure drifts.")


def _bills(tenant: Tenant, month: date) -> list[Point]:
    title = "The providers' bills are matched"
    state = provider_bills.state(month, tenant=tenant)
    if not state.bills:
        told = "No upstream that bills was used." if state.agrees else "No bill imported."
        return [Point(title, "good" if state.agrees else "open", told)]
    return [Point(title, "good" if state.agrees else "open", told) for told in state.told]


def _freeze(checklist: Checklist, by: str) -> Statement:
    tenant, month = checklist.tenant, checklist.month
    last = months.last_closed(tenant)
    decimals = minor_unit(settings.LEDGER_CURRENCY)
    lines = _lines(_figures(tenant, month, EVERYTHING), decimals)
    days = _days(tenant, month)
    with localcontext(prec=MONEY_DIGITS):
        statement = Statement(
            tenant=tenant,
            month=month,
            tenant_slug=tenant.slug,
            tenant_name=tenant.name,
            timezone=tenant.timezone,
            currency=settings.LEDGER_CURRENCY,
            minor_unit=decimals,
            entries=sum(day.entries for day in days),
            line_count=len(lines),
            day_count=len(days),
            **{
                name: sum((getattr(line, name) for line in lines), Decimal(0))
                for name in ("cost", "credit", "price")
            },
            total=sum((line.amount for line in lines), Decimal(0)),
            remarks=checklist.remarks,
            closed_at=_ask(sql.CLOCK, {})[0].astimezone(UTC),
            closed_by=by,
            previous=last.checksum if last else "",
        )
    statement.checksum = checksum(statement, lines, days)
    statement.save(force_insert=True)
    for line in lines:
        line.statement = statement
    for day in days:
        day.statement = statement
    StatementLine.objects.bulk_create(lines)
    StatementDay.objects.bulk_create(days)
    return statement


def _lines(figures: list[tuple[Any, Figures]], decimals: int) -> list[StatementLine]:
    """Rounded one by one: the total is their sum, and adds up for whoever checks it by hand."""
    names = (
        *("requests", "input_tokens", "cached_tokens", "output_tokens", "total_tokens"),
        *("estimated_tokens", "unpriced_requests", "unpriced_tokens", "cost", "credit", "price"),
    )
    return [
        StatementLine(
            position=position,
            cost_center=cost_center,
            model=model,
            amount=rounded(line.price, decimals),
            **{name: getattr(line, name) for name in names},
        )
        for position, ((cost_center, model), line) in enumerate(sorted(figures, key=_place), 1)
    ]


def _place(row: tuple[Any, Figures]) -> Any:
    return row[0]


def _days(tenant: Tenant, month: date) -> list[StatementDay]:
    names = ("day", "entries", "cost", "credit", "digest", "percent")
    with connection.cursor() as cursor:
        cursor.execute(sql.DAYS, _of(tenant, month))
        return [StatementDay(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


def _figures(tenant: Tenant, month: date, since: str) -> list[tuple[Any, Figures]]:
    """Of the days, not of the month's own rows: a closed month's days must be right, too."""
    span = Span.month(month)
    return selectors.usage(LINES_BY, span, tenant=tenant, since=since, coarse=False)


def _of(tenant: Tenant, month: date) -> dict[str, Any]:
    return {"tenant_id": tenant.pk, "month": month, "next_month": next_month(month)}


def _ask(statement: str, params: dict[str, Any]) -> Any:
    """The statement's only row."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone()
