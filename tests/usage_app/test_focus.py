"""A month as FOCUS: a row for each kind of token, and the sums of the page to the last digit."""

import csv
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tenants_app.models import Tenant
from tests.admin_site import logged_in
from tests.factories import make_key, make_model, make_price, make_tenant
from tests.usage_app.entries import make_correction, make_credit, make_entry
from usage_app.figures import MONEY_DIGITS, Span
from usage_app.models import Margin, Price
from usage_app.reports import focus, focus_files
from usage_app.reports import page as report_page
from usage_app.reports.query import ReportQuery

MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
QUERY = ReportQuery(MARCH)
NOON = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)


def rows_of(query: ReportQuery = QUERY, tenant: Tenant | None = None) -> list[dict[str, str]]:
    return list(csv.DictReader("".join(focus_files.focus_chunks(query, tenant)).splitlines()))


def sum_of(rows: list[dict[str, str]], name: str) -> Decimal:
    with localcontext(prec=MONEY_DIGITS):
        return sum((Decimal(row[name] or 0) for row in rows), Decimal(0))


@pytest.fixture
def acme(db: None) -> Tenant:
    acme = make_tenant("acme", timezone="Europe/Berlin")
    Margin.objects.create(tenant=acme, valid_from=date(2026, 3, 1), percent=Decimal("12.5"))
    make_price(make_model("m"), input="0.25", cached_input="0.05", output="1.5")
    return acme


def priced(acme: Tenant, **fields: Any) -> Any:
    tokens = {"input_tokens": 1000, "cached_tokens": 400, "output_tokens": 100}
    cost = Decimal("0.00032")
    given = {"created_at": NOON, "model": "m", "cost_center": "=R&D", "cost": cost}
    return make_entry(acme, **{**given, **tokens, **fields})


def test_each_kind_of_token_has_a_row_that_its_price_explains(acme: Tenant) -> None:
    key = make_key(acme, "shop").key
    priced(acme, api_key=key)
    plain, cached, output = rows_of()
    told = [(row["SkuMeter"], row["ConsumedQuantity"]) for row in (plain, cached, output)]
    assert told == [("Input Tokens", "600"), ("Cache Read Tokens", "400"), ("Output Tokens", "100")]
    for row in (plain, cached, output):
        quantity = Decimal(row["PricingQuantity"])
        assert quantity * Decimal(row["ListUnitPrice"]) == Decimal(row["ListCost"])
        assert quantity * Decimal(row["ContractedUnitPrice"]) == Decimal(row["ContractedCost"])
        assert row["BilledCost"] == row["EffectiveCost"] == row["ContractedCost"]
        assert (row["ChargeCategory"], row["ChargeClass"]) == ("Usage", "")
        assert (row["SubAccountId"], row["ResourceId"]) == ("acme", f"key-{key.pk}")
    assert Decimal(plain["BilledCost"]) == Decimal("0.00015") * Decimal("1.125")
    # The clocks changed that night in Berlin.
    assert (plain["ChargePeriodStart"], plain["ChargePeriodEnd"]) == (
        "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z")  # fmt: skip
    assert (plain["BillingPeriodStart"], plain["BillingPeriodEnd"]) == (
        "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z")  # fmt: skip
    assert (plain["x_CostCenter"], plain["Tags"]) == ("'=R&D", '{"cost_center": "=R&D"}')
    assert [row["x_Requests"] for row in (plain, cached, output)] == ["1", "0", "0"]


def test_what_no_price_explains_has_a_row_of_its_own(acme: Tenant) -> None:
    make_correction(priced(acme), input_tokens=0, output_tokens=0, cost=Decimal("0.1"),
                    cost_center="=R&D")  # fmt: skip
    make_credit(acme, created_at=NOON, credit=Decimal(-2))
    rows = rows_of()
    rest = [row for row in rows if row["ChargeCategory"] != "Usage"]
    assert {row["ChargeCategory"]: row["BilledCost"] for row in rest} == {
        "Adjustment": "0.1125000000000000", "Credit": "-2.0000000000"}  # fmt: skip
    assert {row["PricingQuantity"] for row in rest} == {""}


def test_tokens_without_a_price_have_none(acme: Tenant) -> None:
    priced(acme, cost=None)
    rows = rows_of()
    for name in ("ListUnitPrice", "ContractedUnitPrice", "PricingQuantity", "SkuPriceId"):
        assert {row[name] for row in rows} == {""}
    assert sum_of(rows, "x_UnpricedTokens") == sum_of(rows, "ConsumedQuantity") == 1100
    assert sum_of(rows, "BilledCost") == 0


def test_page_offers_the_file(acme: Tenant) -> None:
    priced(acme)
    client = logged_in(superuser=True)
    response: Any = client.get("/admin/usage/?month=2026-03&format=focus")
    name = 'attachment; filename="usage-2026-03.focus.csv"'
    assert response.headers["content-disposition"] == name
    lines = b"".join(response.streaming_content).decode().splitlines()
    assert lines[0] == ",".join(focus.COLUMNS)
    assert len(lines) == 4


class SameSums(TestCase):
    ENTRIES = st.lists(
        st.fixed_dictionaries(
            {
                "model": st.sampled_from(["m", "n"]),
                "created_at": st.sampled_from([NOON, NOON.replace(day=30, hour=23)]),
                "input_tokens": st.integers(10, 10**9),
                "cached_tokens": st.integers(0, 10),
                "output_tokens": st.integers(0, 10**6),
                "outcome": st.sampled_from(["ok", "error"]),
                "cost": st.none() | st.decimals(0, 10**9, places=10),
            }
        ),
        max_size=6,
    )

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(entries=ENTRIES, credit=st.decimals(-(10**6), 10**6, places=10))
    def test_rows_have_the_sums_of_the_page(
        self, entries: list[dict[str, Any]], credit: Decimal
    ) -> None:
        tenant = make_tenant(f"t-{Tenant.objects.count()}", timezone="Asia/Tokyo")
        Margin.objects.create(tenant=tenant, valid_from=date(2026, 3, 30), percent="33.3333")
        if not Price.objects.exists():
            make_price(make_model("m"), input="0.1234", output="5.4321")
        for fields in entries:
            make_entry(tenant, **fields)
        make_credit(tenant, created_at=NOON, credit=credit)
        query = ReportQuery(MARCH, tenant=tenant.slug)
        figures = report_page.read(query, tenant).total.line.figures
        rows = rows_of(query, tenant)
        assert sum_of(rows, "BilledCost") == sum_of(rows, "EffectiveCost") == figures.price
        assert sum_of(rows, "x_Cost") == figures.cost
        assert sum_of(rows, "x_Requests") == figures.requests
        assert sum_of(rows, "x_TotalTokens") == figures.total_tokens
        assert sum_of(rows, "x_EstimatedTokens") == figures.estimated_tokens
        assert sum_of(rows, "x_UnpricedTokens") == figures.unpriced_tokens
