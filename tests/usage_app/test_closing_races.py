"""Closing while others write, on connections of their own: each entry is in the statement, or the
close waits for it, or it comes too late and is refused.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Event, Thread
from typing import Any

import orjson
import pytest
from django.db import IntegrityError, connection, transaction

from tenants_app.models import Tenant
from tests.factories import make_tenant
from tests.usage_app.entries import charge, make_correction, make_hold
from usage_app import ledger_sql as sql
from usage_app import rollups
from usage_app.models import LedgerEntry, Margin, Reservation, Statement, StatementDay, UsageWindow
from usage_app.statements import closing

pytestmark = pytest.mark.django_db(transaction=True)

MARCH = date(2026, 3, 1)
IN_MARCH = datetime(2026, 3, 14, 12, tzinfo=UTC)
WAITING = """SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()"""


class Other(Thread):
    """Work on a connection of its own; `result` is what it came to."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self.work = work
        self.result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.work()
        except (closing.CannotClose, IntegrityError) as error:
            self.result = error
        finally:
            connection.close()

    def waits(self) -> None:
        """Until it waits for a lock of ours."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.is_alive():
            with connection.cursor() as cursor:
                cursor.execute(WAITING)
                if cursor.fetchone()[0]:
                    return
            time.sleep(0.01)
        pytest.fail("it did not wait")

    def end(self) -> Any:
        self.join(20)
        assert not self.is_alive()
        return self.result


@contextmanager
def under_way(work: Callable[[], object]) -> Iterator[None]:
    """The work of another connection, done but committed only when the block ends."""
    done, leave = Event(), Event()

    def run() -> None:
        with transaction.atomic():
            work()
            done.set()
            assert leave.wait(20)

    other = Other(run)
    assert done.wait(20)
    yield
    leave.set()
    assert other.end() is None


def close(tenant: Tenant) -> Statement:
    return closing.close(tenant, MARCH, by="finance")


def rolled_up() -> None:
    rollups.roll_up_new(margin=timedelta(0))


@pytest.fixture
def acme() -> Tenant:
    """A tenant with one entry in March, rolled up."""
    tenant = make_tenant("acme")
    charge(tenant, created_at=IN_MARCH, cost=Decimal(1))
    rolled_up()
    return tenant


def settle(hold: Reservation) -> None:
    """As `ledger_batches.settle` does: the windows, then holds, windows and entry at once."""
    entry = dict.fromkeys(("model_reason", "upstream", "error_code", "upstream_reference"), "")
    counts = dict.fromkeys(
        (
            *("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens"),
            *("reasoning_tokens", "total_tokens", "latency_ms"),
        ),
        0,
    )
    told = {"kind": "usage", "usage_source": "provider", "outcome": "ok", "attempts": []}
    row = {"id": hold.id, "model": "demo-echo", "cost": "2", **entry, **counts, **told}
    with connection.cursor() as cursor:
        cursor.execute(sql.LOCK_WINDOW_IDS, [hold.window_ids])
        cursor.execute(sql.SETTLE, [orjson.dumps([row]).decode()])


def test_close_waits_for_a_settlement_and_misses_nothing(acme: Tenant) -> None:
    hold = make_hold(acme, list(UsageWindow.objects.all()), created_at=IN_MARCH)
    with under_way(lambda: settle(hold)):
        closer = Other(lambda: close(acme))
        closer.waits()
    assert "wait to be rolled up" in str(closer.end())
    rolled_up()
    assert (close(acme).entries, close_sum()) == (2, Decimal(3))


def close_sum() -> Decimal:
    return sum((day.cost for day in StatementDay.objects.all()), Decimal(0))


def test_close_waits_for_an_admission_at_midnight(acme: Tenant) -> None:
    """A hold admitted in the month's last moment, whose transaction ends after it."""
    window = UsageWindow.objects.get(period="month")
    last = window.ends_at - timedelta(microseconds=1)
    with under_way(lambda: make_hold(acme, [window], created_at=last)):
        closer = Other(lambda: close(acme))
        closer.waits()
    assert str(closer.end()) == "1 admitted in it hold budgets, since 2026-03-31 23:59 UTC."
    assert not Statement.objects.exists()


def test_close_waits_for_a_correction(acme: Tenant) -> None:
    entry = LedgerEntry.objects.get()
    with under_way(lambda: make_correction(entry, cost=Decimal(5))):
        closer = Other(lambda: close(acme))
        closer.waits()
    assert "wait to be rolled up" in str(closer.end())
    rolled_up()
    assert (close(acme).entries, close_sum()) == (2, Decimal(6))


@pytest.mark.parametrize("what", ["correction", "margin"])
def test_what_comes_while_a_close_is_under_way_waits_and_is_refused(
    acme: Tenant, what: str
) -> None:
    entry = LedgerEntry.objects.get()

    def write() -> None:
        if what == "margin":
            Margin.objects.create(tenant=acme, valid_from=MARCH, percent=1)
        else:
            make_correction(entry, cost=Decimal(5))

    with under_way(lambda: close(acme)):
        late = Other(write)
        late.waits()
    assert isinstance(late.end(), IntegrityError)
    assert Statement.objects.get().entries == LedgerEntry.objects.count() == 1


def test_month_closes_once(acme: Tenant) -> None:
    with under_way(lambda: close(acme)):
        second = Other(lambda: close(acme))
        second.waits()
    assert str(second.end()) == "March 2026 is closed, and so are all months before it."
    assert Statement.objects.count() == 1


def test_writers_at_full_speed_and_a_close_lose_nothing(acme: Tenant) -> None:
    entry = LedgerEntry.objects.get()
    written: list[date] = []
    stop = Event()

    def write() -> None:
        """Into March until that is refused, as corrections are: then into the open month."""
        day = IN_MARCH.date()
        while not stop.is_set():
            try:
                with transaction.atomic():
                    make_correction(entry, cost=Decimal(1), local_day=day)
                written.append(day)
            except IntegrityError:
                day = date(2026, 4, 2)

    writers = [Other(write) for _ in range(2)]
    statement = None
    while statement is None:
        rolled_up()
        try:
            statement = close(acme)
        except closing.CannotClose:
            time.sleep(0.01)
        if len(written) > 200:
            break
    while len([day for day in written if day.month == 4]) < 5 and statement:
        time.sleep(0.01)
    stop.set()
    for writer in writers:
        writer.end()
    if statement is None:
        rolled_up()
        statement = close(acme)
    in_march = written.count(IN_MARCH.date()) + 1
    assert statement.entries == in_march == count_of(MARCH)
    assert LedgerEntry.objects.count() == len(written) + 1


def count_of(month: date) -> int:
    return LedgerEntry.objects.filter(local_day__month=month.month).count()
