"""The usage page and its CSV: who may see them, and that both equal the entries exactly."""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tenants_app.models import Tenant
from tests.factories import make_key, make_team, make_tenant
from tests.usage_app.entries import make_entry
from tests.usage_app.test_selectors import sums_of_entries
from usage_app import rollups, selectors
from usage_app.figures import Figures, Span, total
from usage_app.reports import files as report_files
from usage_app.reports import page as report_page
from usage_app.reports.lines import Line, sum_of
from usage_app.reports.query import GROUPS, ReportQuery

URL = "/admin/usage/?month=2026-03"
MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme")


def staff(*, permission: str = "view_ledgerentry") -> User:
    user = User.objects.create_user(uuid4().hex, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename=permission))
    return user


@pytest.fixture
def finance(client: Client, db: None) -> Client:
    client.force_login(staff())
    return client


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def csv_of(span: Span = MARCH, tenant: Tenant | None = None) -> list[dict[str, str]]:
    query = ReportQuery(span, tenant=tenant.slug if tenant else None, group_by="detail")
    return rows_of("".join(report_files.csv_chunks(query, tenant)))


def as_figures(row: dict[str, str]) -> Figures:
    """A line of the CSV, read back."""
    counts: list[Any] = [int(row[name]) for name in report_files.COUNTS]
    return Figures(*counts, *(Decimal(row[name] or 0) for name in ("cost", "credit", "price")))


def test_page_is_for_staff_who_may_view_the_ledger(client: Client, acme: Tenant) -> None:
    for url in (URL, f"{URL}&format=csv"):
        client.logout()
        assert client.get(url).headers["location"].startswith("/admin/login/?next=")
        client.force_login(User.objects.create_user(uuid4().hex))
        assert client.get(url).status_code == 302
        client.force_login(staff(permission="view_price"))
        assert client.get(url).status_code == 403
        client.force_login(staff())
        assert client.get(url).status_code == 200
        client.force_login(User.objects.create_superuser(uuid4().hex))
        assert client.get(url).status_code == 200


def test_page_shows_tenants_and_their_sum(finance: Client, acme: Tenant) -> None:
    make_entry(acme, created_at=NOON, input_tokens=1_234_000, cost=Decimal("1000.0000000123"))
    make_entry(make_tenant("globex"), created_at=NOON, model="x", usage_source="estimated")
    text = finance.get(URL).content.decode()
    assert "?month=2026-03&amp;tenant=acme&amp;groupBy=model" in text
    for shown in ("1,234,005", "1,234,020", "1,000.0000000123", "unpriced", "100.0 %"):
        assert shown in text
    assert "March 2026" in text


def test_page_of_a_tenant_shows_its_models_or_keys(finance: Client, acme: Tenant) -> None:
    key = make_key(acme, "Shop <b>").key
    make_entry(acme, created_at=NOON, api_key=key, cost=Decimal("0.5"))
    make_entry(acme, created_at=NOON, model="other", cost=Decimal("0.25"))
    make_entry(make_tenant("globex"), created_at=NOON, model="not-acmes")
    by_model = finance.get(f"{URL}&tenant=acme").content.decode()
    by_key = finance.get(f"{URL}&tenant=acme&groupBy=key").content.decode()
    assert all(shown in by_model for shown in ("demo-echo", "other", "0.75"))
    assert all(shown in by_key for shown in ("Shop &lt;b&gt;", "without a key", "0.75"))
    # Suggested as a model it is not: that list is of models that are configured.
    assert "not-acmes" not in by_model + by_key


@pytest.mark.parametrize(
    "query", ["month=2026-13", "month=x", "tenant=nobody", "tenant=%00", "groupBy=x"]
)
def test_page_says_what_it_cannot_show(finance: Client, query: str) -> None:
    response = finance.get(f"/admin/usage/?{query}")
    assert response.status_code == 400
    told = (b"This must be a month", b"There is no such tenant", b"This must be one of")
    assert any(words in response.content for words in told)


def test_page_without_a_month_shows_this_one(finance: Client, acme: Tenant) -> None:
    make_entry(acme)
    assert "?month=" + f"{datetime.now(UTC):%Y-%m}" in finance.get("/admin/usage/").content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "&tenant=tenant-0",
        "&groupBy=detail",
        "&groupBy=team",
        "&tenant=tenant-0&team=research",
        "&model=a&groupBy=key",
        "&format=csv",
    ],
)
def test_page_asks_the_same_number_of_questions_for_many_tenants(
    finance: Client, query: str
) -> None:
    tenants = iter(range(100))

    def add(count: int) -> Iterator[None]:
        for number in (next(tenants) for _ in range(count)):
            tenant = make_tenant(f"tenant-{number}")
            team = make_team(tenant)
            for name in ("a", "b"):
                make_entry(
                    tenant, created_at=NOON, api_key=make_key(tenant, team=team).key, model=name
                )
            yield

    counted = []
    finance.get("/admin/")  # notes in the session that it is used
    for count in (1, 20):
        list(add(count))
        with CaptureQueriesContext(connection) as queries:
            b"".join(body_of(finance.get(URL + query)))
        counted.append(len(queries))
    assert counted[0] == counted[1] <= 18


def body_of(response: Any) -> Iterator[bytes]:
    return iter(response.streaming_content if response.streaming else [response.content])


def test_csv_has_the_lines_of_the_page(finance: Client, acme: Tenant) -> None:
    key = make_key(acme, "shop", team=make_team(acme)).key
    make_entry(acme, created_at=NOON, api_key=key, cost=Decimal("0.0000012300"), cached_tokens=2)
    make_entry(acme, created_at=NOON)
    response = finance.get(f"{URL}&groupBy=detail&format=csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="usage-2026-03.csv"'
    days = "2026-03-01,2026-03-31,,acme,Acme,"
    # Cost, credit, price, currency, no refusals by model, and latencies.
    known = "0.0000012300,0.0000000000,0.0000012300000000,USD,,150,150,,"
    unknown = ",0.0000000000,,USD,,150,150,,"
    assert b"".join(body_of(response)).decode().splitlines() == [
        ",".join(report_files.COLUMNS),
        f"{days},research,Research,{key.id},{key},demo-echo,1,0,0,0,1,10,2,0,5,0,15,0,0,0,{known}",
        f"{days},,,,without a key,demo-echo,1,0,0,0,1,10,0,0,5,0,15,0,15,1,{unknown}",
    ]


@pytest.mark.django_db(transaction=True)
def test_csv_streams_from_an_async_server() -> None:
    make_entry(make_tenant("acme"), created_at=NOON)
    client = AsyncClient()
    client.force_login(staff())

    async def download() -> bytes:
        response: Any = await client.get(f"{URL}&format=csv")
        assert response.is_async
        return b"".join([chunk async for chunk in response])

    assert [row["tenant"] for row in rows_of(async_to_sync(download)().decode())] == ["acme"]


@pytest.mark.parametrize("start", ["\t", "\r"])
def test_csv_has_no_formulas_behind_a_space(acme: Tenant, start: str) -> None:
    """Names have none, but a model may be called anything where it is."""
    make_entry(acme, created_at=NOON, model=f"{start}HYPERLINK(1)")
    text = "".join(report_files.csv_chunks(ReportQuery(MARCH, group_by="detail")))
    (row,) = rows_of(text.replace("\r", "\\r"))[:1]
    assert row["model"] == f"'{start}HYPERLINK(1)".replace("\r", "\\r")


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_csv_has_no_formulas(acme: Tenant, start: str) -> None:
    name = f"{start}HYPERLINK(1)"
    make_entry(acme, created_at=NOON, model=name, api_key=make_key(acme, name).key)
    entry = make_entry(make_tenant("globex", name=name), created_at=NOON, cost=Decimal(1))
    query = ReportQuery(MARCH, group_by="detail")
    text = "".join(report_files.csv_chunks(query))
    (theirs, mine) = rows_of(text)[:2]
    shown = f"'{name}"
    assert (mine["model"], mine["key"][: len(shown)], theirs["tenant_name"]) == (shown,) * 3
    assert entry.tenant_id != acme.id


def test_negative_amounts_stay_numbers(acme: Tenant) -> None:
    make_entry(acme, created_at=NOON, kind="correction", corrects=uuid4(), reason="r", author="a",
               cost=Decimal("-1.5"), input_tokens=-10, output_tokens=0)  # fmt: skip
    (row,) = csv_of()
    assert (row["cost"], row["tokens_in"], row["requests"]) == ("-1.5000000000", "-10", "0")


@pytest.mark.parametrize(
    ("cost", "shown"),
    [
        ("0", ("0.00", "00000000")),
        ("1234.5", ("1,234.50", "00000000")),
        ("0.0000000001", ("0.0000000001", "")),
        ("-12.1230000000", ("-12.123", "0000000")),
    ],
)
def test_cost_is_shown_to_the_last_digit(cost: str, shown: tuple[str, str]) -> None:
    assert report_page.Row((), Line(figures=Figures(cost=Decimal(cost)))).cost == shown


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("before_statement", range(1, 5))
def test_page_is_as_of_one_moment_whatever_is_written_meanwhile(before_statement: int) -> None:
    acme = make_tenant("acme")
    make_entry(acme, created_at=NOON, cost=Decimal(1))
    statements = 0

    def settle() -> None:
        make_entry(acme, created_at=NOON, cost=Decimal(2))
        connection.close()

    def beside(run: Any, sql: str, *args: Any) -> Any:
        nonlocal statements
        statements += "WITH fresh" in sql
        if "WITH fresh" in sql and statements == before_statement:
            other = Thread(target=settle)
            other.start()
            other.join()
        return run(sql, *args)

    with connection.execute_wrapper(beside):
        report = report_page.read(ReportQuery(MARCH, group_by="model"), None)
    assert statements == 4
    assert [row.line.figures.cost for row in report.rows] == [Decimal(1)]
    assert report.total.line.figures.cost == 1
    assert {chart.most for chart in report.charts} == {"1.00", "15"}
    again = report_page.read(ReportQuery(MARCH, group_by="model"), None)
    assert again.total.line.figures.cost == 3


class SameSums(TestCase):
    ENTRIES = st.lists(
        st.fixed_dictionaries(
            {
                "who": st.integers(0, 1),
                "with_key": st.booleans(),
                "created_at": st.sampled_from([NOON, NOON + timedelta(days=3)]),
                "model": st.sampled_from(["a", "b"]),
                "input_tokens": st.integers(0, 10**9),
                "cost": st.none() | st.decimals(0, 10**12, places=10),
            }
        ),
        max_size=8,
    )

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(entries=ENTRIES, rolled_up=st.integers(0, 8))
    def test_page_and_csv_and_entries_have_the_same_sums(
        self, entries: list[dict[str, Any]], rolled_up: int
    ) -> None:
        tenants = [make_tenant(f"t-{uuid4().hex[:8]}") for _ in range(2)]
        keys = [make_key(tenants[0], team=make_team(tenants[0])).key, make_key(tenants[1]).key]
        for number, fields in enumerate(entries):
            who, with_key = fields.pop("who"), fields.pop("with_key")
            make_entry(tenants[who], api_key=keys[who] if with_key else None, **fields)
            if number == rolled_up:
                rollups.roll_up_new(margin=timedelta(0))
        expected = sums_of_entries(MARCH)
        everything = total(expected.values())
        assert total(map(as_figures, csv_of())) == everything
        for group_by in GROUPS:
            query = ReportQuery(MARCH, group_by=group_by)
            assert report_page.read(query, None).total.line.figures == everything
            assert sum_of(selectors.report_lines(query, None)).figures == everything
        for tenant in tenants:
            mine = total(sums for group, sums in expected.items() if group[0] == tenant.id)
            query = ReportQuery(MARCH, tenant=tenant.slug, group_by="model")
            assert report_page.read(query, tenant).total.line.figures == mine
            assert total(map(as_figures, csv_of(tenant=tenant))) == mine
