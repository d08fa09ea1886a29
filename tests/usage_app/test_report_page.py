"""The usage report's filters, refusals, percentiles and links to the entries behind a figure."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from tenants_app.models import Tenant
from tests.admin_site import logged_in
from tests.factories import make_key, make_team, make_tenant
from tests.usage_app.entries import make_credit, make_entry
from usage_app import rollups, selectors
from usage_app.figures import Span
from usage_app.histograms import Between
from usage_app.models import Margin, RefusalCount
from usage_app.reports import page as report_page
from usage_app.reports.lines import Line, sum_of
from usage_app.reports.query import GROUPS, ReportQuery, parse

MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme", cost_center="R&D")


def lines_of(**asked: Any) -> list[Line]:
    tenant = asked.get("tenant")
    query = ReportQuery(MARCH, **{**asked, "tenant": tenant and tenant.slug})
    return list(selectors.report_lines(query, tenant))


@pytest.fixture
def filled(acme: Tenant) -> Tenant:
    """Entries on both sides of every filter; half of them rolled up."""
    key = make_key(acme, "shop", team=make_team(acme)).key
    globex = make_tenant("globex")
    at: Any = {"created_at": NOON, "cost": Decimal(1)}
    make_entry(acme, **at, cost_center="R&D", api_key=key, model="a", input_tokens=1)
    make_entry(acme, **at, cost_center="R&D", model="b", input_tokens=2)
    rollups.roll_up_new(margin=timedelta(0))
    later = {**at, "created_at": NOON + timedelta(days=1)}
    make_entry(acme, **later, api_key=key, model="a", input_tokens=4)
    make_entry(globex, **later, model="a", input_tokens=8)
    make_credit(globex, created_at=NOON, credit=Decimal("-0.5"))
    return acme


@pytest.mark.parametrize(
    ("query", "tokens_in"),
    [
        ("", 15),
        ("tenant=acme", 7),
        ("costCenter=R%26D", 3),
        ("costCenter=-", 12),
        ("model=a", 13),
        ("key=-", 10),
        ("key=KEY", 5),
        ("team=-", 10),
        ("tenant=acme&team=-", 2),
        ("tenant=acme&team=research", 5),
        ("tenant=acme&team=research&groupBy=key", 5),
        ("tenant=acme&team=research&groupBy=day&costCenter=-", 4),
        ("tenant=acme&model=a&key=KEY&costCenter=-", 4),
        ("from=2026-03-14&to=2026-03-14", 3),
    ],
)
def test_filters_and_the_link_to_the_entries_mean_the_same(
    filled: Tenant, query: str, tokens_in: int
) -> None:
    key = filled.keys.get()
    query = query.replace("KEY", str(key.pk))
    asked = parse(parse_qs(query or "month=2026-03"), NOON.date())
    tenant = filled if asked.tenant else None
    asked = replace(asked, team_id=filled.teams.get().pk if asked.team else None)
    report = report_page.read(asked, tenant)
    assert report.total.line.figures.input_tokens == tokens_in
    assert sum_of(selectors.report_lines(asked, tenant)).figures.input_tokens == tokens_in
    client = logged_in(superuser=True)
    for row in (report.total, *report.rows):
        assert tokens_behind(client, row.entries) == row.line.figures.input_tokens


@pytest.mark.parametrize("group_by", GROUPS)
def test_every_line_leads_to_its_entries_and_to_itself_alone(filled: Tenant, group_by: str) -> None:
    client = logged_in(superuser=True)
    tenants = {tenant.slug: tenant for tenant in Tenant.objects.all()}
    report = report_page.read(ReportQuery(MARCH, group_by=group_by), None)
    assert sum_of(row.line for row in report.rows).figures == report.total.line.figures
    for row in report.rows:
        assert tokens_behind(client, row.entries) == row.line.figures.input_tokens
        narrow = parse(parse_qs(urlsplit(row.href).query), NOON.date())
        tenant = tenants[narrow.tenant] if narrow.tenant else None
        narrow = replace(narrow, team_id=filled.teams.get().pk if narrow.team else None)
        assert report_page.read(narrow, tenant).total.line.figures == row.line.figures


def tokens_behind(client: Client, url: str) -> int:
    entries = client.get(url).context["cl"].result_list
    return sum(entry.input_tokens for entry in entries)


def test_refusals_are_counted_on_the_tenants_days(acme: Tenant) -> None:
    tokyo = make_tenant("tokyo", timezone="Asia/Tokyo")
    key = make_key(acme).key
    for tenant, hour, refusals in (
        (acme, datetime(2026, 3, 31, 23, tzinfo=UTC), 1),
        (tokyo, datetime(2026, 3, 31, 23, tzinfo=UTC), 2),
        (tokyo, datetime(2026, 2, 28, 15, tzinfo=UTC), 4),
        (tokyo, datetime(2026, 2, 28, 14, tzinfo=UTC), 8),
    ):
        RefusalCount.objects.create(tenant=tenant, hour=hour, code="x", refusals=refusals)
    RefusalCount.objects.create(tenant=acme, api_key=key, hour=NOON, code="x", refusals=16)
    make_entry(acme, created_at=NOON)
    found = {line.tenant: line.refusals for line in lines_of()}
    assert found == {"acme": 17, "tokyo": 4}
    by_key = {(line.tenant, line.key_id): line.refusals for line in lines_of(group_by="key")}
    assert by_key == {("acme", None): 1, ("acme", key.pk): 16, ("tokyo", None): 4}
    assert sum_of(lines_of(group_by="day")).refusals == 21
    assert [line.refusals for line in lines_of(key=key.pk, group_by="day")] == [16]
    assert [line.refusals for line in lines_of(tenant=acme, key=0, group_by="day")] == [0, 1]
    # A refused call has no model yet.
    assert [line.refusals for line in lines_of(group_by="model")] == [None]
    assert [line.refusals for line in lines_of(model="demo-echo", group_by="day")] == [None]


def test_percentiles_are_the_same_from_roll_ups_and_entries(acme: Tenant) -> None:
    for latency in (120, 130, 250, 900):
        make_entry(acme, created_at=NOON, latency_ms=latency, ttft_ms=latency // 10)
    make_entry(acme, created_at=NOON, latency_ms=9_000, outcome="error")

    def percentiles() -> list[Between | None]:
        total = report_page.read(ReportQuery(MARCH), None).total.line
        return [total.latency_at(50), total.latency_at(95), total.ttft_at(50), total.ttft_at(95)]

    fresh = percentiles()
    assert fresh == [Between(100, 150), Between(700, 1000), Between(10, 15), Between(70, 100)]
    rollups.roll_up_new(margin=timedelta(0))
    assert percentiles() == fresh


def test_page_compares_with_the_period_before(acme: Tenant) -> None:
    Margin.objects.create(tenant=acme, valid_from=date(2026, 3, 1), percent=Decimal("12.5"))
    make_entry(acme, created_at=NOON, cost=Decimal("3.3333333333"))
    make_entry(acme, created_at=datetime(2026, 2, 28, 12, tzinfo=UTC), cost=Decimal(3))
    report = report_page.read(ReportQuery(MARCH), None)
    assert report.before.line.figures.price == Decimal(3)
    (price, requests, *_) = report_page.figures(report)
    assert (price.value, price.change) == ("3.75", "+25.0 %")
    assert (requests.value, requests.change) == ("1", "+0.0 %")
    assert report.total.price == ("3.7499999999625", "000")


def test_long_reports_come_in_pages(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage_app.reports.page.ROWS_A_PAGE", 2)
    for number in range(5):
        make_entry(acme, created_at=NOON, model=f"m{number}", cost=Decimal(number))
    query = ReportQuery(MARCH, group_by="model")
    pages = [report_page.read(query, None, page=page) for page in (1, 2, 3, 4)]
    names = [[row.names[0] for row in page.rows] for page in pages]
    assert names == [["m4", "m3"], ["m2", "m1"], ["m0"], []]
    assert [page.count for page in pages] == [5, 5, 5, 0]
    assert {page.total.line.figures.cost for page in pages} == {Decimal(10)}
    text = logged_in(superuser=True).get("/admin/usage/?month=2026-03&groupBy=model&page=2")
    assert b"Lines 3 to 4 of 5" in text.content
    no_number = logged_in(superuser=True).get("/admin/usage/?month=2026-03&page=" + "9" * 5000)
    assert no_number.context["page"] == 1


def test_a_credit_without_a_known_cost_is_in_the_price(acme: Tenant) -> None:
    make_entry(acme, created_at=NOON, model="x")
    make_credit(acme, created_at=NOON, credit=Decimal(-2), model="x")
    (line,) = lines_of(group_by="model")
    assert (line.figures.known_cost, line.figures.known_price) == (None, Decimal(-2))


def test_days_win_over_the_month_of_the_form(acme: Tenant) -> None:
    make_entry(acme, created_at=NOON)
    client = logged_in(superuser=True)
    page = client.get("/admin/usage/?month=2026-03&from=2026-03-14&to=2026-03-14")
    assert page.status_code == 200
    assert b"14 March 2026" in page.content
