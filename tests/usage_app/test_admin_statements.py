"""Staff closes a month at the end of a checklist, and takes a statement's files away."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tenants_app.models import Tenant
from tests.admin_site import logged_in, text_of, url_of
from tests.factories import make_tenant
from tests.usage_app.entries import charge, make_hold, make_statement
from usage_app import rollups
from usage_app.models import Statement
from usage_app.statements import closing
from usage_app.statements import files as statement_files

pytestmark = pytest.mark.django_db

MARCH = date(2026, 3, 1)
IN_MARCH = datetime(2026, 3, 14, 12, tzinfo=UTC)
CLOSE = "usage_app.close_month"
VIEW = "usage_app.view_statement"


@pytest.fixture
def acme() -> Tenant:
    acme = make_tenant("acme")
    charge(acme, created_at=IN_MARCH, cost=Decimal("1.255"), cost_center="R&D")
    rollups.roll_up_new(margin=timedelta(0))
    return acme


def checklist(month: str = "2026-03", tenant: str = "acme") -> str:
    return f"{reverse('admin:usage_app_statement_close')}?tenant={tenant}&month={month}"


def states(client: Client) -> list[str]:
    return [point.state for point in client.get(checklist()).context["checklist"].points]


def test_checklist_ends_in_a_closed_month(acme: Tenant) -> None:
    client = logged_in(CLOSE, VIEW)
    page = text_of(client.get(reverse("admin:usage_app_statement_close")))
    assert "March 2026 · Acme (acme)" in page
    assert states(client) == [*["good"] * 8, "open"]
    page = text_of(client.get(checklist()))
    assert "No bill imported." in page
    assert "Close March 2026 of acme" in page

    answer = client.post(checklist(), follow=True)

    statement = Statement.objects.get()
    assert answer.redirect_chain == [(url_of(Statement, "change", statement.pk), 302)]
    page = text_of(answer)
    assert "acme 2026-03 is closed." in page
    for told in ("1.26 USD", "1.255", "R&amp;D", statement.checksum, "2026-03-14"):
        assert told in page
    assert statement.closed_by == answer.context["user"].get_username()
    assert "None." in text_of(client.get(reverse("admin:usage_app_statement_close")))


def test_checklist_that_is_not_met_has_no_button_and_closes_nothing(acme: Tenant) -> None:
    client = logged_in(CLOSE, VIEW)
    make_hold(acme, [], created_at=IN_MARCH)
    assert states(client)[2] == "stop"
    assert "It cannot be closed now." in text_of(client.get(checklist()))
    page = text_of(client.post(checklist(), follow=True))
    assert "The month stays open. 1 admitted in it hold budgets" in page
    page = text_of(client.post(checklist("2999-01"), follow=True))
    assert "The month stays open. The month is still running" in page
    assert not Statement.objects.exists()


@pytest.mark.parametrize(
    ("tenant", "month"), [("acme", "2026-13"), ("acme", ""), ("nobody", "2026-03"), ("%00", "%00")]
)
def test_bad_month_or_tenant_is_told(acme: Tenant, tenant: str, month: str) -> None:
    client = logged_in(CLOSE)
    for ask in (client.get, client.post):
        answer = ask(checklist(month, tenant))
        assert answer.status_code == 400
        assert answer.context["form"].errors


def test_only_who_may_close_does_and_who_may_view_looks(acme: Tenant) -> None:
    viewer, nobody = logged_in(VIEW), logged_in("usage_app.view_ledgerentry")
    for client in (viewer, nobody):
        assert client.get(checklist()).status_code == 403
        assert client.post(checklist()).status_code == 403
    assert not Statement.objects.exists()
    statement = closing.close(acme, MARCH, by="finance")
    for name in ("statement.pdf", "statement.csv", "statement.json", "entries.csv"):
        url = url_of(Statement, "file", statement.pk, name)
        assert viewer.get(url).status_code == 200
        assert nobody.get(url).status_code == 403
    assert "Close a month" not in text_of(viewer.get(url_of(Statement, "changelist")))
    assert "Close a month" in text_of(logged_in(CLOSE, VIEW).get(url_of(Statement, "changelist")))


def test_files_are_always_the_same_bytes(acme: Tenant) -> None:
    statement = closing.close(acme, MARCH, by="finance")
    client = logged_in(VIEW)
    told = {}
    for name in ("statement.pdf", "statement.csv", "statement.json", "entries.csv"):
        url = url_of(Statement, "file", statement.pk, name)
        first, second = (client.get(url).getvalue() for _ in range(2))
        assert first == second
        told[name] = first
    assert told["statement.pdf"].startswith(b"%PDF-")
    assert told["statement.csv"].decode() == statement_files.lines_csv(statement)
    assert told["statement.json"] == statement_files.document(statement)
    assert told["entries.csv"].decode() == "".join(statement_files.entries_csv(statement))
    answer = client.get(url_of(Statement, "file", statement.pk, "statement.pdf"))
    assert answer["Content-Disposition"] == 'attachment; filename="statement-acme-2026-03.pdf"'
    assert client.get(url_of(Statement, "file", statement.pk, "no.txt")).status_code == 404


def test_entries_that_were_detached_are_told(acme: Tenant) -> None:
    statement = make_statement(acme, MARCH, entries=2)
    client = logged_in(VIEW)
    page = text_of(client.get(url_of(Statement, "file", statement.pk, "entries.csv"), follow=True))
    assert "The ledger has not all of its entries any more" in page


def test_checklist_asks_as_often_for_many_tenants_as_for_one(acme: Tenant) -> None:
    client = logged_in(CLOSE)
    client.get(checklist())
    counts = []
    for more in (0, 30):
        for number in range(more):
            charge(make_tenant(f"t-{number}"), created_at=IN_MARCH)
        rollups.roll_up_new(margin=timedelta(0))
        with CaptureQueriesContext(connection) as queries:
            assert client.get(checklist()).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
