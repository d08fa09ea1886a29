"""A closed month never changes: the database refuses what would; what is late counts today."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from tenants_app.database import pool
from tenants_app.models import Tenant
from tests.factories import make_tenant
from tests.loops import run
from tests.usage_app.entries import (
    make_correction,
    make_credit,
    make_entry,
    make_statement,
    make_statement_line,
)
from tests.usage_app.test_ledger import caller_of, used, wish
from usage_app import ledger, ledger_sync, months
from usage_app.models import LedgerEntry, Margin, Statement, StatementDay, StatementLine
from usage_app.periods import next_month

OCTOBER = date(2026, 10, 1)
IN_OCTOBER = datetime(2026, 10, 14, 12, tzinfo=UTC)
IN_NOVEMBER = datetime(2026, 11, 1, 0, tzinfo=UTC)


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme")


def refused(work: Callable[[], object], words: str) -> None:
    with pytest.raises(IntegrityError, match=words), transaction.atomic():
        work()


def test_month_is_closed_by_its_statement_or_a_later_one(acme: Tenant) -> None:
    make_statement(acme, OCTOBER)
    days = [date(2026, 8, 14), date(2026, 10, 1), date(2026, 10, 31), date(2026, 11, 1)]
    assert [months.is_closed(acme, day) for day in days] == [True, True, True, False]
    assert not months.is_closed(make_tenant("globex"), OCTOBER)


def test_credit_alone_freezes_the_time_zone(acme: Tenant) -> None:
    """Its day was counted in it, though there is no window."""
    globex = make_tenant("globex")
    make_credit(acme)
    rows = Tenant.objects.all()
    refused(lambda: rows.filter(pk=acme.pk).update(timezone="Asia/Tokyo"), "zone of tenant acme")
    assert rows.filter(pk=globex.pk).update(timezone="Asia/Tokyo") == 1
    make_statement(globex, OCTOBER)
    refused(lambda: rows.filter(pk=globex.pk).update(timezone="UTC"), "tenant globex is frozen")


def test_ledger_takes_no_entry_of_a_closed_month(acme: Tenant) -> None:
    entry = make_entry(acme, created_at=IN_OCTOBER)
    make_statement(acme, OCTOBER)
    for late in (
        lambda: make_entry(acme, created_at=IN_OCTOBER),
        lambda: make_entry(acme, created_at=IN_OCTOBER - timedelta(days=40)),
        lambda: make_correction(entry),
        lambda: make_credit(acme, created_at=IN_OCTOBER),
    ):
        refused(late, "the month of .* is closed for this tenant")
    make_correction(entry, local_day=IN_NOVEMBER.date())
    make_entry(acme, created_at=IN_NOVEMBER)
    make_entry(make_tenant("globex"), created_at=IN_OCTOBER)
    assert LedgerEntry.objects.count() == 4


def test_one_entry_of_a_closed_month_refuses_its_whole_batch(acme: Tenant) -> None:
    globex = make_tenant("globex")
    make_statement(globex, OCTOBER)
    good = make_entry(acme, created_at=IN_OCTOBER)
    rows = [
        LedgerEntry(**_fields(good) | {"id": f"{n:032x}", "tenant_id": tenant.id})
        for n, tenant in enumerate([acme, globex, acme])
    ]
    refused(lambda: LedgerEntry.objects.bulk_create(rows), "is closed for this tenant")
    assert LedgerEntry.objects.count() == 1


def _fields(entry: LedgerEntry) -> dict[str, Any]:
    return {f.attname: getattr(entry, f.attname) for f in entry._meta.concrete_fields}


def test_margin_of_a_closed_month_is_frozen(acme: Tenant) -> None:
    margin = Margin.objects.create(tenant=acme, valid_from=OCTOBER, percent=10)
    later = Margin.objects.create(tenant=acme, valid_from=date(2026, 11, 1), percent=20)
    make_statement(acme, OCTOBER)
    rows = Margin.objects.filter(pk=margin.pk)
    for change in (
        lambda: rows.update(percent=11),
        lambda: rows.update(valid_from=date(2026, 12, 1)),
        lambda: rows.update(tenant=make_tenant("globex")),
        rows.delete,
        lambda: Margin.objects.filter(pk=later.pk).update(valid_from=date(2026, 10, 31)),
        lambda: Margin.objects.create(tenant=acme, valid_from=date(2026, 10, 31), percent=1),
        lambda: Margin.objects.create(tenant=acme, valid_from=date(2025, 1, 1), percent=1),
    ):
        refused(change, "its margin is frozen")
    Margin.objects.filter(pk=later.pk).update(percent=30)
    assert list(Margin.objects.values_list("percent", flat=True)) == [Decimal(30), Decimal(10)]


@pytest.mark.parametrize("rows", [Statement, StatementLine, StatementDay])
def test_statement_never_changes(acme: Tenant, rows: Any) -> None:
    make_statement(acme, OCTOBER)
    field = rows._meta.concrete_fields[-1].attname
    refused(lambda: rows.objects.update(**{field: "1"}), "never changes: UPDATE refused")
    refused(lambda: rows.objects.all()._raw_delete("default"), "never changes: DELETE refused")


def test_statement_is_emptied_by_nobody(acme: Tenant) -> None:
    make_statement(acme, OCTOBER)

    def empty() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET LOCAL tollgate.allow_truncate = 'no'")
            cursor.execute("TRUNCATE usage_app_statement CASCADE")

    refused(empty, "never changes: TRUNCATE refused")


def test_nothing_is_added_to_a_statement(acme: Tenant) -> None:
    statement = make_statement(acme, OCTOBER)
    refused(lambda: make_statement_line(statement, 2), "is complete")
    day = StatementDay.objects.get()
    day.pk, day.day = None, date(2026, 10, 2)
    refused(day.save, "is complete")


def test_statement_carries_the_checksum_of_the_last(acme: Tenant) -> None:
    make_statement(acme, OCTOBER)
    november = next_month(OCTOBER)
    refused(lambda: make_statement(acme, november, previous=""), "follows the last one")
    refused(lambda: make_statement(acme, november, previous="0" * 64), "follows the last one")
    refused(lambda: make_statement(acme, date(2026, 9, 1)), "follows the last one")
    refused(lambda: make_statement(acme, OCTOBER), "statement_is_one_per_tenant_and_month")
    make_statement(acme, november)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("closed", [True, False])
def test_settlement_after_the_close_counts_today(closed: bool) -> None:
    acme = make_tenant("acme", timezone="Pacific/Auckland")
    lived = timezone.now() - timedelta(days=70)
    windows_of: dict[str, Any] = {}

    async def main() -> None:
        hold = await ledger.reserve(wish(await caller_of()))
        async with pool().connection() as connection:
            await connection.execute(
                "UPDATE usage_app_reservation"
                " SET process_id = NULL, created_at = %s, local_day = %s",
                [lived, lived.date()],
            )
        hold.created_at = lived
        await asyncio.to_thread(sweep_and_close, closed)
        await ledger.settle(hold, used(hold, 42))
        windows_of["hold"] = hold.window_ids

    def sweep_and_close(close: bool) -> None:
        try:
            assert ledger_sync.expire(silence=timedelta()) == 1
            if close:
                make_statement(acme, lived.date().replace(day=1))
        finally:
            connection.close()

    run(main())

    expired, late = LedgerEntry.objects.order_by("settled_at")
    today = timezone.now() + timedelta(hours=13)
    assert (late.kind, late.corrects, late.created_at) == ("adjustment", expired.id, lived)
    assert late.local_day == (today.date() if closed else lived.date())
    assert late.total_tokens == 42 - expired.total_tokens
