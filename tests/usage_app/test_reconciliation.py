"""The books agree with one another whatever led to them, and what somebody changed is found with
its size.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from structlog.testing import capture_logs

from tenants_app.models import Tenant
from tests.admin_site import logged_in, text_of, url_of
from tests.factories import make_key, make_tenant
from tests.usage_app.entries import charge, make_correction, make_credit, make_hold, make_window
from usage_app import reconciliation, rollups, tasks
from usage_app.figures import Span
from usage_app.models import (
    DailyUsage,
    Drift,
    HourlyUsage,
    LedgerEntry,
    MonthlyUsage,
    Reconciliation,
    UsageWindow,
)
from usage_app.snapshot import snapshot

DAY = date(2026, 3, 14)
NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
NOTHING = timedelta(0)

Found = list[tuple[str, str, str, Decimal]]


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme")


def rolled_up() -> None:
    """Everything there is, with the mark after it."""
    rollups.roll_up_new(margin=NOTHING)


def drift(tenant: Tenant | None = None) -> Found:
    """What a run finds, as (book, period, figure, size)."""
    run = reconciliation.run(author="test", tenants=[tenant] if tenant else None)
    rows = run.found.order_by("id")
    assert run.drifts == len(rows)
    assert run.finished_at is not None
    return [(row.book, row.period, row.figure, row.size) for row in rows]


def test_books_in_order_have_no_drift_and_that_is_kept(acme: Tenant) -> None:
    key = make_key(acme).key
    for days in range(3):
        charge(acme, created_at=NOON + timedelta(days=days), cost=Decimal("0.0000000001"))
        charge(acme, created_at=NOON + timedelta(days=days), api_key=key, model="other")
    rolled_up()
    with capture_logs() as logs:
        assert drift() == []
    run = Reconciliation.objects.get()
    counted = (run.tenants, run.entries, run.rollups, run.pending, run.windows)
    # 6 rows of days and of hours, 2 of the month; windows of 3 days and a month, of tenant and key.
    assert counted == (1, 6, 6 + 6 + 2, 0, 6 + 2)
    assert (run.result, run.holds) == ("no drift", 8)
    assert [line["event"] for line in logs] == ["reconciled"]
    assert logs[0]["drifts"] == 0


def test_what_is_not_rolled_up_yet_is_pending_and_no_drift(acme: Tenant) -> None:
    charge(acme, created_at=NOON)
    charge(acme, created_at=NOON, model="other")
    rolled_up()
    charge(acme, created_at=NOON)
    assert drift() == []
    assert Reconciliation.objects.get().pending == 2
    DailyUsage.objects.filter(model="other").update(requests=7)
    assert ("days", "2026-03-14", "requests", Decimal(6)) in drift()


@pytest.mark.parametrize("rows", [DailyUsage, HourlyUsage, MonthlyUsage])
def test_changed_roll_up_is_found_with_its_size(acme: Tenant, rows: Any) -> None:
    charge(acme, created_at=NOON, cost=Decimal(3))
    rolled_up()
    histogram = rows.objects.get().latency_histogram
    histogram[0] += 2
    rows.objects.update(total_tokens=9, cost=Decimal("3.0000000001"), latency_histogram=histogram)
    places = {
        DailyUsage: ("days", "2026-03-14"),
        HourlyUsage: ("hours", "2026-03-14 12:00 UTC"),
        MonthlyUsage: ("months", "2026-03"),
    }
    size = [
        ("total_tokens", Decimal(-6)),
        ("cost", Decimal("1E-10")),
        ("latency_histogram[1]", Decimal(2)),
    ]
    found = [row for row in drift() if row[:2] == places[rows]]
    assert found == [(*places[rows], figure, amount) for figure, amount in size]
    # A month is compared with its days, so a changed day shows in both.
    others = {row[0] for row in drift()} - {places[rows][0]}
    assert others == ({"months"} if rows is DailyUsage else set())


def test_roll_up_of_nothing_and_a_missing_one_are_found(acme: Tenant) -> None:
    charge(acme, created_at=NOON)
    rolled_up()
    DailyUsage.objects.update(model="never-used")
    found = [row for row in drift() if row[0] == "days" and row[2] == "requests"]
    assert [row[3] for row in found] == [Decimal(-1), Decimal(1)]


@pytest.mark.parametrize("period", ["day", "month"])
def test_changed_window_is_found_with_its_size(acme: Tenant, period: str) -> None:
    key = make_key(acme).key
    charge(acme, created_at=NOON, api_key=key, cost=Decimal(2))
    rolled_up()
    UsageWindow.objects.filter(period=period, api_key=key).update(tokens=1015, cost=1)
    found = [row for row in drift() if row[0] == f"{period} windows"]
    place = (f"{period} windows", "2026-03-14" if period == "day" else "2026-03")
    assert found == [(*place, "tokens", Decimal(1000)), (*place, "cost", Decimal(-1))]
    assert {row.api_key_id for row in Drift.objects.filter(book=f"{period} windows")} == {key.id}


@pytest.mark.parametrize("settled", [NOON, None])
def test_entry_inserted_by_hand_is_found_with_its_size(
    acme: Tenant, settled: datetime | None
) -> None:
    entry = charge(acme, created_at=NOON, cost=Decimal(2))
    rolled_up()
    columns = [f.column for f in LedgerEntry._meta.concrete_fields]
    columns = [name for name in columns if name not in ("id", "settled_at")]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO usage_app_ledgerentry (id, settled_at, {', '.join(columns)})"
            f" SELECT %s, coalesce(%s, clock_timestamp()), {', '.join(columns)}"
            " FROM usage_app_ledgerentry WHERE id = %s",
            [uuid4(), settled, entry.id],
        )
    windows = [("requests", Decimal(-1)), ("tokens", Decimal(-15)), ("cost", Decimal(-2))]
    found = drift()
    assert [row[2:] for row in found if row[0] == "day windows"] == windows
    # Dated back it misses in the roll-ups, too; dated now they will have it.
    assert (("days", "2026-03-14", "requests", Decimal(-1)) in found) == bool(settled)


def test_later_fact_past_the_program_is_found_until_its_day_is_made_anew(acme: Tenant) -> None:
    """As docs/books.md says; what is dated now nobody can tell from what the program wrote."""
    entry = charge(acme, created_at=NOON, cost=Decimal(2))
    taken = make_correction(entry, cost=Decimal("-0.5"))
    rolled_up()
    make_credit(acme, created_at=NOON, settled_at=NOON)
    table = "usage_app_ledgerentry"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER ledger_is_append_only")
        cursor.execute(f"DELETE FROM {table} WHERE id = %s", [taken.pk])
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER ledger_is_append_only")
    found = [(book, figure, size) for book, _, figure, size in drift() if book == "days"]
    assert ("days", "cost", Decimal("-0.5")) in found
    assert ("days", "credit", Decimal(1)) in found
    rollups.roll_up(acme.pk, DAY)
    make_credit(acme, created_at=NOON)
    assert drift() == []


def test_window_that_holds_what_no_hold_names_is_found(acme: Tenant) -> None:
    window, month = make_window(acme), make_window(acme, "month")
    make_hold(acme, [window, month], held_cost=Decimal("0.5"))
    assert drift() == []
    UsageWindow.objects.filter(pk=window.pk).update(held_tokens=40)
    ((book, period, figure, size),) = drift()
    assert (book, figure, size) == ("holds", "held_tokens", Decimal(-60))
    assert period.startswith("day 2026-")


def test_late_settlement_counts_in_the_windows_of_its_admission(acme: Tenant) -> None:
    entry = charge(acme, created_at=NOON, outcome="expired")
    # As after the close of its month: booked on a later day, moved windows of the day it began.
    charge(
        acme, kind="adjustment", corrects=entry.id, created_at=NOON, input_tokens=-3,
        output_tokens=-1, cost=Decimal(1), local_day=DAY + timedelta(days=30),
    )  # fmt: skip
    assert drift() == []
    rolled_up()
    assert drift() == []


def test_corrections_and_credits_move_no_window(acme: Tenant) -> None:
    entry = charge(acme, created_at=NOON, cost=Decimal(2))
    rolled_up()
    later = NOON + timedelta(days=40)
    make_correction(entry, created_at=later, local_day=DAY, cost=Decimal(-1))
    make_credit(acme, created_at=later)
    assert drift() == []
    rolled_up()
    assert drift() == []
    assert DailyUsage.objects.get(day=DAY, model="demo-echo").cost == Decimal(1)
    assert sorted(HourlyUsage.objects.values_list("hour", "cost")) == [
        (NOON.replace(minute=0), Decimal(2)),
        (later.replace(minute=0), Decimal(-1)),
        (later.replace(minute=0), Decimal(0)),
    ]


def test_days_and_tenant_that_were_asked_for_are_looked_at(acme: Tenant) -> None:
    globex = make_tenant("globex")
    for tenant in (acme, globex):
        charge(tenant, created_at=NOON)
    rolled_up()
    DailyUsage.objects.update(errors=1)
    UsageWindow.objects.update(requests=5)
    assert {row[0] for row in drift(acme)} == {"days", "months", "day windows"}
    assert set(Drift.objects.values_list("tenant_id", flat=True)) == {acme.id}
    before = Span(DAY - timedelta(days=90), DAY - timedelta(days=1))
    # Of a month that is touched its whole is compared with its days.
    assert {row.book for row in reconciliation.compare(acme, before).drifts} == {"months"}
    assert reconciliation.compare(acme, Span.month(date(2026, 2, 1))).drifts == []
    Drift.objects.all().delete()
    assert reconciliation.compare(globex, Span(DAY, DAY)).drifts != []
    assert not Drift.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_run_reads_one_snapshot_a_month() -> None:
    tenant = make_tenant()
    charge(tenant, created_at=NOON)
    rolled_up()
    with snapshot(), connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("repeatable read",)
    assert drift() == []


def test_command_fails_on_drift_and_tells_its_size(
    acme: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    charge(acme, created_at=NOON)
    rolled_up()
    call_command("reconcile", "--tenant", "acme", "--from", "2026-03-01", "--to", "2026-03-31")
    assert capsys.readouterr().out == (
        "compared 1 tenant: 1 entries, 3 roll-up rows (0 of them not rolled up yet),"
        " 2 windows, 2 windows with their holds: no drift\n"
    )
    UsageWindow.objects.filter(period="day").update(tokens=20)
    with pytest.raises(CommandError, match=r"The books differ: 2 drifts, kept as run \d+"):
        call_command("reconcile")
    out = capsys.readouterr().out
    assert "acme day windows 2026-03-14: tokens: expected 15, found 20 (+5)\n" in out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--tenant", "nobody"], "There is no tenant 'nobody'."),
        (["--from", "2026-03-02", "--to", "2026-03-01"], "--from must not be after --to."),
        (["--from", "2026-02-30"], "'2026-02-30' is no day, as in 2026-03-14"),
    ],
)
def test_command_refuses_what_makes_no_sense(db: None, arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem.replace(".", r"\.")):
        call_command("reconcile", *arguments)
    assert not Reconciliation.objects.exists()


def test_tasks_compare_and_log(acme: Tenant) -> None:
    charge(acme)
    charge(acme, created_at=NOON)
    rolled_up()
    DailyUsage.objects.update(requests=3)
    with capture_logs() as logs:
        tasks.reconcile()
        tasks.reconcile_all()
    runs = [(line["event"], line["drifts"]) for line in logs if line["event"] == "reconciled"]
    assert runs == [("reconciled", 2), ("reconciled", 4)]
    first = next(line for line in logs if line["event"] == "drift")
    assert (first["tenantId"], first["figure"], first["size"]) == ("acme", "requests", "2")
    assert first["log_level"] == "error"


def test_pages_tell_drift_with_its_size_and_zero_drift_too(acme: Tenant) -> None:
    client = logged_in(superuser=True)
    charge(acme, created_at=NOON)
    rolled_up()
    reconciliation.run(author="test")
    assert "no drift" in text_of(client.get(url_of(Reconciliation, "changelist")))
    DailyUsage.objects.update(requests=3)
    run = reconciliation.run(author="test")
    assert "2 drifts" in text_of(client.get(url_of(Reconciliation, "changelist")))
    page = text_of(client.get(url_of(Reconciliation, "change", run.pk)))
    link = f"{url_of(Drift, 'changelist')}?reconciliation={run.pk}"
    assert link in page
    listed = client.get(link)
    assert len(listed.context["cl"].result_list) == 2
    assert "+2" in text_of(listed)
