"""A month closes once, in order, whole, and as exactly what the ledger and the roll-ups say."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from structlog.testing import capture_logs

from tenants_app.models import Tenant
from tests.factories import make_key, make_tenant
from tests.usage_app.entries import (
    charge,
    make_correction,
    make_credit,
    make_entry,
    make_hold,
)
from usage_app import rollups, tasks
from usage_app.currencies import minor_unit, rounded
from usage_app.models import (
    DailyUsage,
    LedgerEntry,
    Margin,
    MonthlyUsage,
    Reservation,
    Statement,
    UsageWindow,
)
from usage_app.periods import day_period, local_day, next_month
from usage_app.statements import closing
from usage_app.statements.files import document

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
IN_MARCH = datetime(2026, 3, 14, 12, tzinfo=UTC)
NOTHING = timedelta(0)


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme")


def rolled_up() -> None:
    rollups.roll_up_new(margin=NOTHING)


def closed(tenant: Tenant, month: date = MARCH) -> Statement:
    rolled_up()
    return closing.close(tenant, month, by="finance")


def refusal(tenant: Tenant, month: date = MARCH) -> str:
    with pytest.raises(closing.CannotClose) as raised:
        closing.close(tenant, month, by="finance")
    assert raised.value.checklist.against == closing.check(tenant, month).against
    return str(raised.value)


def test_statement_tells_the_month(acme: Tenant) -> None:
    Margin.objects.create(tenant=acme, valid_from=date(2026, 3, 20), percent=Decimal("12.5"))
    Margin.objects.create(tenant=acme, valid_from=date(2026, 2, 1), percent=0)
    globex = make_tenant("globex")
    Margin.objects.create(tenant=globex, valid_from=date(2026, 3, 25), percent=50)
    Margin.objects.create(tenant=globex, valid_from=date(2026, 3, 10), percent=50)
    charge(acme, created_at=IN_MARCH, cost=Decimal("1.005"), cost_center="R&D")
    charge(acme, created_at=IN_MARCH, cost=Decimal(1), api_key=make_key(acme).key)
    entry = charge(acme, created_at=IN_MARCH + timedelta(days=6), cost=Decimal(2))
    make_correction(entry, input_tokens=-4, output_tokens=0, cost=Decimal("-0.5"))
    charge(acme, created_at=IN_MARCH, model="new", usage_source="estimated")
    make_credit(acme, created_at=IN_MARCH, credit=Decimal("-0.125"))
    charge(acme, created_at=IN_MARCH + timedelta(days=30), cost=Decimal(9))
    charge(globex, created_at=IN_MARCH, cost=Decimal(9))

    statement = closed(acme)

    told = [
        (line.position, line.cost_center, line.model, line.requests, line.total_tokens,
         line.cost, line.credit, line.price, line.amount)
        for line in statement.lines.all()
    ]  # fmt: skip
    assert told == [
        (1, "", "", 0, 0, 0, Decimal("-0.125"), Decimal("-0.125"), Decimal("-0.12")),
        (2, "", "demo-echo", 2, 26, Decimal("2.5"), 0, Decimal("2.6875"), Decimal("2.69")),
        (3, "", "new", 1, 15, 0, 0, 0, 0),
        (4, "R&D", "demo-echo", 1, 15, Decimal("1.005"), 0, Decimal("1.005"), Decimal("1.00")),
    ]
    assert [(day.day, day.entries, day.percent) for day in statement.days.all()] == [
        (date(2026, 3, 14), 4, 0),
        (date(2026, 3, 20), 2, Decimal("12.5")),
    ]
    statement.refresh_from_db()
    assert (statement.entries, statement.line_count, statement.day_count) == (6, 4, 2)
    assert (statement.cost, statement.credit) == (Decimal("3.505"), Decimal("-0.125"))
    assert (statement.price, statement.total) == (Decimal("3.5675"), Decimal("3.57"))
    assert (statement.previous, statement.closed_by, statement.currency) == ("", "finance", "USD")
    assert statement.remarks == [
        "1 requests with 15 tokens have no price and cost nothing here.",
        "No bill imported.",
    ]


def test_months_are_closed_in_order_and_chained(acme: Tenant) -> None:
    charge(acme, created_at=IN_MARCH)
    charge(acme, created_at=IN_MARCH + timedelta(days=92))
    rolled_up()
    assert refusal(acme, date(2026, 6, 1)) == "March 2026 has entries and is not closed yet."
    march, june = closed(acme), closed(acme, date(2026, 6, 1))
    assert june.previous == march.checksum
    told = "June 2026 is closed, and so are all months before it."
    for month in (MARCH, APRIL, date(2026, 6, 1)):
        assert refusal(acme, month) == told
    assert Statement.objects.count() == 2


def test_month_that_is_not_over_where_the_tenant_is_stays_open(db: None) -> None:
    """The running month is refused, and so is one that is over in UTC only."""
    now = timezone.now()
    for zone in ("Pacific/Kiritimati", "UTC", "Pacific/Pago_Pago"):
        tenant = make_tenant(f"in-{zone[-4:].lower().replace('_', '-')}", timezone=zone)
        charge(tenant, created_at=now)
        this_month = local_day(now, zone).replace(day=1)
        assert "The month is still running: it ends at " in refusal(tenant, this_month)
        assert "still running" in refusal(tenant, next_month(this_month))


def test_what_is_under_way_or_behind_keeps_the_month_open(acme: Tenant) -> None:
    assert refusal(acme) == "There is nothing to close."
    charge(acme, created_at=IN_MARCH)
    assert refusal(acme) == "Entries of 1 days wait to be rolled up: a matter of minutes."
    rolled_up()
    make_hold(acme, [], created_at=IN_MARCH + timedelta(days=17, hours=11))
    assert refusal(acme) == "1 admitted in it hold budgets, since 2026-03-31 23:00 UTC."
    make_hold(make_tenant("globex"), [], created_at=IN_MARCH)
    Reservation.objects.for_tenant(acme).delete()
    make_hold(acme, [], created_at=IN_MARCH + timedelta(days=18))
    closing.close(acme, MARCH, by="finance")


def test_roll_ups_that_differ_from_the_ledger_keep_the_month_open(acme: Tenant) -> None:
    charge(acme, created_at=IN_MARCH, model="a", cost=1)
    charge(acme, created_at=IN_MARCH, model="b", cost=1)
    rolled_up()
    DailyUsage.objects.filter(model="b").update(reasoning_tokens=1)
    assert refusal(acme).startswith("They differ in b: roll the month up again. ")
    rollups.roll_up(acme.id, IN_MARCH.date())
    assert closing.close(acme, MARCH, by="finance").cost == 2


def test_drift_keeps_the_month_open(acme: Tenant) -> None:
    charge(acme, created_at=IN_MARCH)
    rolled_up()
    UsageWindow.objects.filter(period="day").update(tokens=14)
    told = "2 figures drift, the first in day windows 2026-03-14: tokens: see Reconciliation."
    assert refusal(acme) == told
    UsageWindow.objects.filter(period="day").update(tokens=15)
    # What is held elsewhere is no matter of March.
    UsageWindow.objects.filter(period="day").update(held_tokens=1)
    closing.close(acme, MARCH, by="finance")


def test_timetable_closes_what_was_over_long_ago(acme: Tenant) -> None:
    globex, initech = make_tenant("globex"), make_tenant("initech")
    for tenant, cost in ((acme, 1), (globex, None), (initech, 1)):
        charge(tenant, created_at=IN_MARCH, cost=cost)
        charge(tenant, created_at=IN_MARCH + timedelta(days=60), cost=cost)
        charge(tenant, created_at=timezone.now(), cost=cost)
    make_hold(initech, [], created_at=IN_MARCH)
    rolled_up()
    tasks.close_months()
    assert not Statement.objects.exists()
    assert len(closing.waiting(days=5)) == 6
    # By days, to the day: May ended here at the end of this one.
    ended = (timezone.now() - datetime(2026, 6, 1, tzinfo=UTC)).days
    assert {one.month for one in closing.waiting(days=ended + 1)} == {MARCH}
    assert {one.month for one in closing.waiting(days=ended)} == {MARCH, date(2026, 5, 1)}

    with override_settings(AUTO_CLOSE_AFTER_DAYS=5), capture_logs() as logs:
        tasks.close_months()

    assert sorted(map(str, Statement.objects.all())) == ["acme 2026-03", "acme 2026-05"]
    assert {statement.closed_by for statement in Statement.objects.all()} == {"timetable"}
    told = [(line["event"], line.get("statement") or line["month"]) for line in logs]
    assert [event for event, _ in told].count("month_not_closed") == 4
    assert ("month_not_closed", "initech 2026-05") in told
    assert not closing.close_due(10_000, by="nobody")[0]
    assert {one.slug for one in closing.waiting(days=5)} == {"globex", "initech"}


def test_month_waits_once_it_is_over_where_the_tenant_is(db: None) -> None:
    """25 hours lie between the first end of a May and the last one: some whole days ago, only one
    of them was over.
    """
    may = datetime(2026, 5, 14, 12, tzinfo=UTC)
    for slug, zone in (("first", "Pacific/Kiritimati"), ("last", "Pacific/Pago_Pago")):
        charge(make_tenant(slug, timezone=zone), created_at=may)
    rolled_up()
    days = (timezone.now() - datetime(2026, 5, 31, 10, tzinfo=UTC)).days
    assert [one.slug for one in closing.waiting(days=days)] == ["first"]
    assert [one.slug for one in closing.waiting(days=days - 2)] == ["first", "last"]


def test_refused_close_changes_nothing(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    charge(acme, created_at=IN_MARCH)
    rolled_up()

    def fail(*_: object) -> str:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr("usage_app.statements.closing.StatementDay.objects.bulk_create", fail)
        with pytest.raises(RuntimeError):
            closing.close(acme, MARCH, by="finance")
    assert not Statement.objects.exists()
    charge(acme, created_at=IN_MARCH)
    assert closed(acme).entries == 2


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("0.005", "USD", "0.00"),
        ("0.015", "USD", "0.02"),
        ("0.0150000001", "EUR", "0.02"),
        ("-0.005", "USD", "0.00"),
        ("-0.015", "USD", "-0.02"),
        ("2.5", "JPY", "2"),
        ("3.5", "JPY", "4"),
        ("1.0005", "KWD", "1.000"),
        ("1.00015", "CLF", "1.0002"),
        ("12345678901234567890123.4450000000000001", "USD", "12345678901234567890123.45"),
    ],
)
def test_line_is_rounded_half_to_even(amount: str, currency: str, expected: str) -> None:
    assert str(rounded(Decimal(amount), minor_unit(currency))) == expected


def test_total_is_the_sum_of_the_rounded_lines(acme: Tenant) -> None:
    for model in "abc":
        charge(acme, created_at=IN_MARCH, model=model, cost=Decimal("0.4"))
    with override_settings(LEDGER_CURRENCY="JPY"):
        statement = closed(acme)
    assert (statement.price, statement.minor_unit) == (Decimal("1.2"), 0)
    assert statement.total == 0


def test_statement_of_enormous_amounts_is_exact(acme: Tenant) -> None:
    """Far beyond the 28 digits that Python's decimals have by themselves."""
    Margin.objects.create(tenant=acme, valid_from=MARCH, percent=Decimal("12.3457"))
    cost = Decimal("9999999999999.9999999999")
    for model in "abc":
        charge(acme, created_at=IN_MARCH, model=model, cost=cost)
    statement = closed(acme)
    line = statement.lines.all()[0]
    assert (line.price, statement.cost) == (
        Decimal("11234569999999.9999999998876543"),
        Decimal("29999999999999.9999999997"),
    )
    assert statement.price == Decimal("33703709999999.9999999996629629")


# --- any month ----------------------------------------------------------------------------------

# Both changes of the clocks, a year's end, a half-hour zone, and the first zone and the last.
MONTHS = [
    ("Europe/Berlin", date(2026, 3, 1)),
    ("Europe/Berlin", date(2025, 10, 1)),
    ("America/New_York", date(2025, 12, 1)),
    ("Asia/Kolkata", date(2026, 2, 1)),
    ("Pacific/Kiritimati", date(2025, 12, 1)),
    ("Pacific/Pago_Pago", date(2026, 1, 1)),
    ("UTC", date(2024, 2, 1)),
]
ROWS = st.fixed_dictionaries(
    {
        # Of a month and the days around it: where within its day, in millionths.
        "day": st.integers(-2, 33),
        "part": st.sampled_from([0, 1, 500_000, 999_999]),
        "kind": st.sampled_from(["usage", "usage", "correction", "credit"]),
        "model": st.sampled_from(["a", "b", "@cf/c"]),
        "cost_center": st.sampled_from(["", "R&D", "=cmd"]),
        "amount": st.none() | st.decimals(-50, 50, places=10),
        "tokens": st.integers(0, 10**9),
    }
)
MARGINS = st.dictionaries(st.integers(-5, 31), st.decimals(-100, 900, places=4), max_size=3)


class AnyMonth(TestCase):
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(where=st.sampled_from(MONTHS), rows=st.lists(ROWS, max_size=10), margins=MARGINS)
    def test_statement_is_the_roll_ups_is_the_ledger(
        self, where: tuple[str, date], rows: list[dict[str, Any]], margins: dict[int, Decimal]
    ) -> None:
        zone, month = where
        tenant = make_tenant(f"acme-{uuid4().hex[:8]}", timezone=zone)
        for day, percent in margins.items():
            valid_from = month + timedelta(days=day)
            Margin.objects.create(tenant=tenant, valid_from=valid_from, percent=percent)
        for row in rows:
            write(tenant, month, row)
        rolled_up()
        earlier = LedgerEntry.objects.for_tenant(tenant).filter(local_day__lt=month)
        if earlier.exists():
            closing.close(tenant, earlier[0].local_day.replace(day=1), by="finance")
        entries = LedgerEntry.objects.for_tenant(tenant).filter(
            local_day__gte=month, local_day__lt=next_month(month)
        )
        if not entries:
            assert closing.check(tenant, month).against == ["There is nothing to close."]
            return
        agree(closing.close(tenant, month, by="finance"), list(entries), margins)


def write(tenant: Tenant, month: date, row: dict[str, Any]) -> None:
    """An entry at this part of a local day, wherever that day begins in UTC."""
    period = day_period(month + timedelta(days=row["day"]), tenant.timezone)
    at = period.starts_at + (period.ends_at - period.starts_at) * row["part"] / 1_000_000
    fields: dict[str, Any] = {"created_at": at, "cost_center": row["cost_center"]}
    amount = row["amount"]
    if row["kind"] == "credit":
        make_credit(tenant, credit=amount or Decimal(0), **fields)
        return
    cost = abs(amount) if amount is not None and row["kind"] == "usage" else amount
    fields |= {"model": row["model"], "input_tokens": row["tokens"], "cost": cost}
    if row["kind"] == "correction":
        later = {"kind": "correction", "corrects": uuid4(), "reason": "x", "author": "y"}
        make_entry(tenant, **fields, **later)
    else:
        charge(tenant, **fields)


def agree(statement: Statement, entries: list[LedgerEntry], margins: dict[int, Decimal]) -> None:
    """The statement by hand, from the entries; and by the month's roll-up."""
    begins = sorted((statement.month + timedelta(days=n), value) for n, value in margins.items())
    price = Decimal(0)
    lines: dict[tuple[str, str], Decimal] = {}
    for entry in entries:
        percent = next((p for day, p in reversed(begins) if day <= entry.local_day), Decimal(0))
        amount = (entry.cost or 0) * (1 + percent / 100) + (entry.credit or 0)
        price += amount
        line = (entry.cost_center, entry.model)
        lines[line] = lines.get(line, Decimal(0)) + amount
    assert statement.price == price
    told = [(line.cost_center, line.model) for line in statement.lines.all()]
    assert told == sorted(lines)
    assert statement.total == sum(rounded(amount, 2) for amount in lines.values())
    assert statement.entries == len(entries) == sum(d.entries for d in statement.days.all())
    assert statement.cost == sum(entry.cost or 0 for entry in entries)
    remade = document(Statement.objects.get(pk=statement.pk))
    assert sha256(remade).hexdigest() == statement.checksum
    rows = MonthlyUsage.objects.filter(tenant=statement.tenant_id, month=statement.month)
    for name in ("requests", "total_tokens", "input_tokens", "unpriced_tokens", "cost", "credit"):
        assert sum(getattr(line, name) for line in statement.lines.all()) == sum(
            getattr(row, name) for row in rows
        )
