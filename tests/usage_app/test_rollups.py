"""Roll-ups are the sums of their entries, whatever order, repetition or lateness led to them."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Barrier, Thread
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tenants_app.models import Tenant
from tests.factories import make_key, make_tenant
from tests.usage_app.entries import make_correction, make_entry
from usage_app import rollups
from usage_app.histograms import BOUNDS_MS, Between, percentile
from usage_app.models import DailyUsage, HourlyUsage, LedgerEntry, MonthlyUsage, RollupMark

DAY = date(2026, 3, 14)
NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
NOTHING = timedelta(0)


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme")


def figures(row: DailyUsage | HourlyUsage | MonthlyUsage) -> dict[str, Any]:
    """A roll-up row without its key and its empty counts."""
    fields = {f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields}
    for name in ("id", "tenant_id", "day", "hour", "month", "latency_histogram", "ttft_histogram"):
        fields.pop(name, None)
    return {name: value for name, value in fields.items() if value}


def test_day_counts_every_figure_of_its_entries(acme: Tenant) -> None:
    make_entry(acme, created_at=NOON, cached_tokens=4, cost=Decimal("0.0000000123"))
    make_entry(
        acme,
        created_at=NOON,
        output_tokens=50,
        reasoning_tokens=20,
        cache_write_tokens=3,
        cost=Decimal(2),
        usage_source="estimated",
        attempts=[{}, {}, {}],
    )
    make_entry(acme, created_at=NOON, outcome="error", output_tokens=0, input_tokens=0, cost=0)
    make_entry(acme, created_at=NOON, outcome="aborted", usage_source="partial")
    make_entry(acme, created_at=NOON, outcome="expired", usage_source="expired", attempts=[])

    rollups.roll_up(acme.id, DAY)

    row = DailyUsage.objects.for_tenant(acme).get()
    assert row.day == DAY
    assert figures(row) == {
        "model": "demo-echo",
        "requests": 5,
        "errors": 1,
        "aborted": 1,
        "expired": 1,
        "attempts": 6,
        "input_tokens": 40,
        "cached_tokens": 4,
        "cache_write_tokens": 3,
        "output_tokens": 65,
        "reasoning_tokens": 20,
        "total_tokens": 105,
        "estimated_tokens": 60 + 15 + 15,
        "unpriced_tokens": 30,
        "unpriced_requests": 2,
        "cost": Decimal("2.0000000123"),
    }
    assert figures(MonthlyUsage.objects.get()) == figures(HourlyUsage.objects.get()) == figures(row)
    assert MonthlyUsage.objects.get().month == date(2026, 3, 1)
    assert HourlyUsage.objects.get().hour == NOON.replace(minute=0)


def test_corrections_move_tokens_and_cost_but_are_no_requests(acme: Tenant) -> None:
    entry = make_entry(acme, created_at=NOON, cost=Decimal(3))
    make_correction(entry, input_tokens=-4, output_tokens=0, cost=Decimal("-1.5"), outcome="error")
    rollups.roll_up(acme.id, DAY)
    row = figures(DailyUsage.objects.get())
    assert (row["requests"], row["total_tokens"], row["cost"]) == (1, 11, Decimal("1.5"))
    assert "errors" not in row


def test_latencies_are_those_of_answers(acme: Tenant) -> None:
    for latency in (5, 90, 100, 2_000_000):
        make_entry(acme, created_at=NOON, latency_ms=latency, ttft_ms=latency // 2)
    make_entry(acme, created_at=NOON, latency_ms=1, outcome="error")
    make_entry(acme, created_at=NOON, latency_ms=1, outcome="aborted", ttft_ms=40)
    rollups.roll_up(acme.id, DAY)
    for row in (DailyUsage.objects.get(), HourlyUsage.objects.get(), MonthlyUsage.objects.get()):
        assert sum(row.latency_histogram) == 4
        assert sum(row.ttft_histogram) == 5
        assert percentile(row.latency_histogram, 0) == Between(0, BOUNDS_MS[0])
        assert percentile(row.latency_histogram, 50) == Between(70, 100)
        assert percentile(row.latency_histogram, 75) == Between(100, 150)
        assert percentile(row.latency_histogram, 100) == Between(1_000_000, None)


def test_tenants_keys_and_models_are_kept_apart(acme: Tenant) -> None:
    globex, key = make_tenant("globex"), make_key(acme).key
    make_entry(acme, created_at=NOON)
    make_entry(acme, created_at=NOON, api_key=key)
    make_entry(acme, created_at=NOON, api_key=key, model="other")
    make_entry(globex, created_at=NOON)
    rollups.roll_up(acme.id, DAY)
    found = set(DailyUsage.objects.values_list("tenant_id", "api_key_id", "model"))
    assert found == {
        (acme.id, None, "demo-echo"),
        (acme.id, key.id, "demo-echo"),
        (acme.id, key.id, "other"),
    }


@pytest.mark.parametrize(
    ("zone", "admitted", "day", "month"),
    [
        # The night in which the clocks go forward, and the one in which they go back.
        ("Europe/Berlin", "2026-03-28T23:30Z", "2026-03-29", "2026-03-01"),
        ("Europe/Berlin", "2026-03-29T21:59Z", "2026-03-29", "2026-03-01"),
        ("Europe/Berlin", "2026-10-25T22:59Z", "2026-10-25", "2026-10-01"),
        ("America/New_York", "2027-01-01T04:59Z", "2026-12-31", "2026-12-01"),
        ("Pacific/Auckland", "2026-12-31T11:00Z", "2027-01-01", "2027-01-01"),
        ("Asia/Kolkata", "2026-06-30T18:30Z", "2026-07-01", "2026-07-01"),
    ],
)
def test_day_and_month_are_the_tenants_own(
    db: None, zone: str, admitted: str, day: str, month: str
) -> None:
    tenant = make_tenant(timezone=zone)
    make_entry(tenant, created_at=datetime.fromisoformat(admitted))
    assert rollups.roll_up_new() == 1
    assert DailyUsage.objects.get().day == date.fromisoformat(day)
    assert MonthlyUsage.objects.get().month == date.fromisoformat(month)
    assert HourlyUsage.objects.get().requests == 1


def test_clock_hour_at_midnight_of_a_half_hour_zone_holds_both_days(db: None) -> None:
    tenant = make_tenant(timezone="Asia/Kolkata")
    midnight = datetime(2026, 6, 30, 18, 30, tzinfo=UTC)
    make_entry(tenant, created_at=midnight - timedelta(minutes=1))
    make_entry(tenant, created_at=midnight)
    for day in (date(2026, 6, 30), date(2026, 7, 1)):
        rollups.roll_up(tenant.id, day)
        assert HourlyUsage.objects.get().requests == 2
    assert [row.requests for row in DailyUsage.objects.order_by("day")] == [1, 1]


def test_rows_without_entries_go(acme: Tenant) -> None:
    make_entry(acme, created_at=NOON)
    rollups.roll_up(acme.id, DAY)
    for rows in (DailyUsage, HourlyUsage, MonthlyUsage):
        rows.objects.update(model="never-used")
    rollups.roll_up(acme.id, DAY)
    for rows in (DailyUsage, HourlyUsage, MonthlyUsage):
        assert [row.model for row in rows.objects.all()] == ["demo-echo"]


def test_new_entries_are_found_once(acme: Tenant) -> None:
    make_entry(acme, created_at=NOON)
    assert rollups.roll_up_new(margin=NOTHING) == 1
    assert rollups.roll_up_new(margin=NOTHING) == 0
    make_entry(acme, created_at=NOON - timedelta(days=40))
    assert rollups.roll_up_new(margin=NOTHING) == 1
    assert DailyUsage.objects.count() == 2


def test_mark_never_goes_back(acme: Tenant) -> None:
    rollups.roll_up_new(margin=NOTHING)
    before = RollupMark.objects.get().settled_before
    rollups.roll_up_new(margin=timedelta(days=1))
    assert RollupMark.objects.get().settled_before == before


def test_recent_groups_are_made_anew_whatever_the_mark_says(acme: Tenant) -> None:
    make_entry(acme, created_at=NOON)
    make_entry(
        acme,
        created_at=NOON - timedelta(days=9),
        settled_at=datetime.now(UTC) - timedelta(days=4),
    )
    rollups.roll_up_new(margin=NOTHING)
    DailyUsage.objects.all().delete()
    assert rollups.roll_up_recent(days=3) == 1
    assert DailyUsage.objects.get().day == DAY


# --- real transactions ------------------------------------------------------------------------


def in_thread(work: Callable[[], object]) -> Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_mark_waits_for_a_transaction_that_may_still_settle() -> None:
    tenant = make_tenant()
    written, rolled_up = Barrier(2), Barrier(2)

    def settle_slowly() -> None:
        with transaction.atomic():
            Tenant.objects.exists()  # begins the transaction, before the entry is settled
            make_entry(tenant, created_at=NOON)
            written.wait(10)
            rolled_up.wait(10)

    thread = in_thread(settle_slowly)
    written.wait(10)
    assert rollups.roll_up_new(margin=NOTHING) == 0
    rolled_up.wait(10)
    thread.join()
    assert rollups.roll_up_new(margin=NOTHING) == 1
    assert DailyUsage.objects.get().requests == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_leave_the_same_rows() -> None:
    tenant = make_tenant(timezone="Asia/Kolkata")
    days = [date(2026, 6, 29), date(2026, 6, 30), date(2026, 7, 1)]
    for day in days:
        for hour in (0, 12, 18):
            make_entry(tenant, created_at=datetime(*day.timetuple()[:3], hour, 29, tzinfo=UTC))
            make_entry(tenant, created_at=datetime(*day.timetuple()[:3], hour, 31, tzinfo=UTC))
    failures: list[Exception] = []

    def roll_all(order: list[date]) -> None:
        try:
            for _ in range(4):
                for day in order:
                    rollups.roll_up(tenant.id, day)
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)

    for thread in [in_thread(lambda o=o: roll_all(o)) for o in (days, days[::-1])]:  # type: ignore[misc]
        thread.join()
    assert failures == []
    assert sum(row.requests for row in HourlyUsage.objects.all()) == 18
    assert {row.month: row.requests for row in MonthlyUsage.objects.all()} == expected_months(days)


def expected_months(days: list[date]) -> dict[date, int]:
    counted = Counter(LedgerEntry.objects.values_list("local_day", flat=True))
    months: Counter[date] = Counter()
    for day, requests in counted.items():
        if day in days:
            months[day.replace(day=1)] += requests
    return dict(months)


# --- any order ----------------------------------------------------------------------------------

SPOTS = [NOON, NOON + timedelta(days=1), NOON + timedelta(days=20)]
ENTRIES = st.fixed_dictionaries(
    {
        "created_at": st.sampled_from(SPOTS),
        "model": st.sampled_from(["a", "b"]),
        "input_tokens": st.integers(0, 10**6),
        "cost": st.none() | st.decimals(0, 100, places=10),
        "outcome": st.sampled_from(["ok", "error", "aborted", "expired"]),
        "latency_ms": st.integers(0, 10**6),
    }
)
STEPS = st.lists(
    ENTRIES | st.sampled_from(SPOTS).map(datetime.date) | st.just("new"), min_size=1, max_size=12
)


class AnyOrder(TestCase):
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=STEPS)
    def test_any_order_of_entries_and_roll_ups_gives_the_same_rows(self, steps: list[Any]) -> None:
        tenant = make_tenant(f"acme-{uuid4().hex[:8]}")
        for step in steps:
            if isinstance(step, dict):
                make_entry(tenant, **step)
            elif isinstance(step, date):
                rollups.roll_up(tenant.id, step)
            else:
                rollups.roll_up_new(margin=NOTHING)
        rollups.roll_up_new(margin=NOTHING)
        led_to = all_rows()
        for rows in (DailyUsage, HourlyUsage, MonthlyUsage):
            rows.objects.all().delete()
        for day in sorted({entry.local_day for entry in LedgerEntry.objects.all()}):
            rollups.roll_up(tenant.id, day)
        assert all_rows() == led_to


def all_rows() -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for rows in (DailyUsage, HourlyUsage, MonthlyUsage)
        for row in rows.objects.values_list(
            *(f.attname for f in rows._meta.concrete_fields if f.attname != "id")
        ).order_by("model", rows._meta.concrete_fields[-1].attname)
    ]


def test_slices_are_runs_of_days_in_a_month_with_a_bounded_number_of_entries() -> None:
    first = date(2026, 2, 26)
    counts = [(2, first, 1)]
    counts += [(1, first + timedelta(days=later), 10) for later in (0, 1, 2, 3, 5)]
    counts += [(1, date(2026, 4, day), 20_000) for day in (1, 2, 3)]
    counts += [(3, date(2026, 5, 1), 10**9), (3, date(2026, 5, 2), 1)]
    found = [(one.tenant_id, str(one.first), one.days) for one in rollups.slices(counts)]
    assert found == [
        (1, "2026-02-26", 3),
        (2, "2026-02-26", 1),
        (1, "2026-03-01", 1),
        (1, "2026-03-03", 1),
        (1, "2026-04-01", 2),
        (1, "2026-04-03", 1),
        (3, "2026-05-01", 1),
        (3, "2026-05-02", 1),
    ]
