"""Only what is closed leaves the ledger; statements, roll-ups and reports stay as they were."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from tenants_app.models import Tenant
from tests.admin_site import logged_in, text_of
from tests.factories import make_tenant
from tests.usage_app.entries import charge, make_correction, make_credit
from usage_app import corrections, partitions, reconciliation, rollups, selectors
from usage_app.admin.corrections import NO_ENTRY
from usage_app.corrections import Change, CorrectionRefused, Why
from usage_app.figures import Span
from usage_app.models import DailyUsage, LedgerEntry, Statement
from usage_app.statements import closing, retention
from usage_app.statements.files import document

pytestmark = pytest.mark.django_db

MARCH = date(2026, 3, 1)
IN_MARCH = datetime(2026, 3, 14, 12, tzinfo=UTC)
TABLE = "usage_app_ledgerentry_2026_03"


@pytest.fixture
def acme() -> Tenant:
    """With an entry in March and one in the last hour of March in UTC, April where it is."""
    partitions.make_ahead(MARCH)
    acme = make_tenant("acme", timezone="Europe/Berlin")
    charge(acme, created_at=IN_MARCH, cost=1)
    charge(acme, created_at=datetime(2026, 3, 31, 22, 30, tzinfo=UTC), cost=2)
    rollups.roll_up_new(margin=timedelta(0))
    return acme


def retire(before: str = "2026-04", **options: Any) -> None:
    call_command("retire_ledger", "--before", before, **options)


def test_what_is_not_closed_stays(acme: Tenant) -> None:
    for told in ("acme from 2026-03 (2)", "acme from 2026-04 (1)"):
        with pytest.raises(CommandError) as refused:
            retire()
        assert str(refused.value).splitlines()[1:] == [f"{TABLE}: {told}"]
        closing.close(acme, date.fromisoformat(f"{told[10:17]}-01"), by="finance")
    with pytest.raises(CommandError, match="This month and later ones stay"):
        retire("2999-01")
    retire(dry_run=True)
    assert LedgerEntry.objects.count() == 2


def test_statement_outlives_its_entries(acme: Tenant, capsys: pytest.CaptureFixture[str]) -> None:
    statements = [closing.close(acme, month, by="finance") for month in (MARCH, date(2026, 4, 1))]
    before = [document(one) for one in statements], usage(acme)
    retire()
    assert f"{TABLE}: 2 entries, detached" in capsys.readouterr().out
    assert not LedgerEntry.objects.exists()

    rollups.roll_up(acme.pk, IN_MARCH.date())
    rollups.roll_up(acme.pk, date(2026, 4, 1))
    assert ([document(one) for one in Statement.objects.order_by("month")], usage(acme)) == before
    assert DailyUsage.objects.count() == 2
    assert reconciliation.run(author="test").drifts == 0
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        execute("UPDATE {} SET cost = 0")
    make_credit(acme)
    retire()


def test_entry_that_comes_meanwhile_keeps_its_partition(acme: Tenant) -> None:
    for month in (MARCH, date(2026, 4, 1)):
        closing.close(acme, month, by="finance")
    (partition,) = retention.old(date(2026, 4, 1))
    charge(make_tenant("globex"), created_at=IN_MARCH)
    with pytest.raises(retention.StillOpen, match=r"globex from 2026-03 \(1\)"):
        retention.detach(partition)
    assert LedgerEntry.objects.count() == 3


def test_entry_that_left_the_ledger_cannot_be_corrected_and_that_is_told(acme: Tenant) -> None:
    request = LedgerEntry.objects.get(created_at=IN_MARCH)
    for month in (MARCH, date(2026, 4, 1)):
        closing.close(acme, month, by="finance")
    kept = make_correction(request, created_at=datetime.now(UTC), local_day=corrections.today(acme))
    retire()
    change, why = Change(cost=Decimal(-1)), Why("too much", "finance")
    with pytest.raises(CorrectionRefused, match="no longer in the ledger"):
        corrections.correct(request, change, why)
    client = logged_in(superuser=True)
    for entry, told in ((request, NO_ENTRY), (kept, corrections.GONE)):
        url = reverse("admin:usage_app_ledgerentry_correct", args=[entry.pk])
        assert told in text_of(client.get(url, follow=True))
    assert list(LedgerEntry.objects.all()) == [kept]


def usage(tenant: Tenant) -> Any:
    span = Span(date(2026, 1, 1), date(2026, 12, 31))
    return selectors.usage(("day", "model"), span, tenant=tenant)


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement.format(TABLE))
