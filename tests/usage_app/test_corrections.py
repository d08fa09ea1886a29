"""Later facts are entries of their own: they add up, make sense, count in an open month, and are
written once.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tenants_app.models import Tenant
from tenants_app.tracing import uuid7
from tests.factories import make_key, make_model, make_price, make_tenant
from tests.usage_app.entries import make_entry, make_statement, make_window
from usage_app import corrections, rollups, selectors
from usage_app.corrections import Change, CorrectionRefused, Why
from usage_app.figures import Figures, Span
from usage_app.models import LedgerEntry, Price
from usage_app.periods import local_day
from usage_app.pricing import UsageFigures

NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
WHY = Why("the provider counted twice", "finance")


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme", cost_center="R&D")


@pytest.fixture
def price(db: None) -> Price:
    return make_price(make_model("m"), input="2", cached_input="1", output="10")


def charged(tenant: Tenant, price: Price | None, **fields: Any) -> LedgerEntry:
    """A request of 10 tokens in and 5 out: 0.00007 at the price of these tests."""
    cost = None if price is None else Decimal("0.00007")
    given = {"created_at": NOON, "model": "m", "price": price, "cost": cost, **fields}
    return make_entry(tenant, **given)


def later(request: LedgerEntry) -> list[LedgerEntry]:
    return list(LedgerEntry.objects.filter(corrects=request.id).order_by("settled_at"))


def figures(tenant: Tenant, span: Span = MARCH) -> Figures:
    found = selectors.usage(["tenant_id"], span, tenant=tenant)
    return found[0][1] if found else Figures()


def test_correction_is_an_entry_of_its_own_with_the_requests_account(
    acme: Tenant, price: Price
) -> None:
    key, window = make_key(acme).key, make_window(acme)
    fields = {"api_key": key, "cost_center": "old", "usage_source": "estimated"}
    request = charged(acme, price, **fields)
    change = Change(UsageFigures(input=-4, cached=2, output=1))
    assert corrections.correct(request, change, WHY)
    (entry,) = later(request)
    same = ("tenant", "api_key", "cost_center", "model", "trace_id", "local_day", "usage_source")
    assert [getattr(entry, name) for name in same] == [getattr(request, name) for name in same]
    assert (entry.kind, entry.reason, entry.author) == ("correction", WHY.reason, "finance")
    assert corrections._tokens(entry) == change.tokens
    assert entry.total_tokens == -3
    assert entry.created_at > NOON + timedelta(days=1)
    assert (entry.price, entry.attempts, entry.held_tokens) == (price, [], 0)
    # -6 plain at 2, 2 cached at 1, 1 out at 10, per million.
    assert entry.cost == Decimal(0)
    window.refresh_from_db()
    assert (window.requests, window.tokens, window.cost) == (0, 0, Decimal(0))


def test_tokens_are_charged_at_the_requests_price_unless_a_cost_is_given(
    acme: Tenant, price: Price
) -> None:
    request = charged(acme, price)
    corrections.correct(request, Change(UsageFigures(output=3)), WHY)
    corrections.correct(request, Change(cost=Decimal("-0.00001")), WHY)
    assert [(one.cost, one.price) for one in later(request)] == [
        (Decimal("0.00003"), price),
        (Decimal("-0.00001"), None),
    ]
    assert corrections.standing(request).cost == Decimal("0.00009")


def test_tokens_of_an_unpriced_request_stay_unpriced_until_a_cost_is_given(acme: Tenant) -> None:
    request = charged(acme, None)
    corrections.correct(request, Change(UsageFigures(output=1)), WHY)
    sums = figures(acme)
    assert (sums.total_tokens, sums.unpriced_tokens, sums.known_cost) == (16, 16, None)
    corrections.correct(request, Change(UsageFigures(output=-2), cost=Decimal("0.5")), WHY)
    sums = figures(acme)
    assert (sums.total_tokens, sums.unpriced_tokens, sums.known_cost) == (14, 0, Decimal("0.5"))
    assert (sums.requests, sums.attempts) == (1, 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Change(), "A correction of nothing"),
        (Change(UsageFigures(output=-6)), "less than no tokens"),
        (Change(UsageFigures(cached=11)), "Cached tokens are part of the input"),
        (Change(UsageFigures(reasoning=6)), "reasoning of the output"),
        (Change(UsageFigures(input=10**13)), "at most 1,000,000,000,000 tokens"),
        (Change(cost=Decimal("-0.00008")), "give a credit instead"),
        (Change(cost=Decimal("0.12345678901")), "at most 10 decimals"),
        (Change(cost=Decimal("NaN")), "An amount is at most"),
        (Change(cost=Decimal("1e30")), "An amount is at most"),
    ],
)
def test_correction_that_makes_no_sense_changes_nothing(
    acme: Tenant, price: Price, change: Change, told: str
) -> None:
    request = charged(acme, price)
    with pytest.raises(CorrectionRefused, match=told):
        corrections.correct(request, change, WHY)
    assert later(request) == []


@pytest.mark.parametrize("why", [Why(" ", "finance"), Why("x", ""), Why("x" * 501, "f")])
def test_later_fact_without_a_reason_changes_nothing(acme: Tenant, why: Why) -> None:
    request = charged(acme, None)
    with pytest.raises(CorrectionRefused, match="reason"):
        corrections.correct(request, Change(cost=Decimal(1)), why)
    with pytest.raises(CorrectionRefused, match="reason"):
        corrections.credit(acme, Decimal(1), why)
    assert LedgerEntry.objects.count() == 1


def test_correction_of_a_closed_month_counts_today(acme: Tenant, price: Price) -> None:
    request = charged(acme, price)
    make_statement(acme, date(2026, 3, 1))
    assert corrections.correct(request, Change(UsageFigures(output=3)), WHY)
    (entry,) = later(request)
    assert entry.local_day == local_day(datetime.now(UTC), acme.timezone)
    assert (figures(acme).output_tokens, figures(acme).cost) == (5, Decimal("0.00007"))


def test_month_that_closes_under_the_hands_of_a_correction_is_left_alone(
    acme: Tenant, price: Price, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = charged(acme, price)
    make_statement(acme, date(2026, 3, 1))
    answers = iter([False, True])
    monkeypatch.setattr("usage_app.months.is_closed", lambda *_: next(answers))
    assert corrections.correct(request, Change(UsageFigures(output=3)), WHY)
    (entry,) = later(request)
    assert entry.local_day == local_day(datetime.now(UTC), acme.timezone)


def test_credit_is_money_alone_on_the_tenants_day_of_today(acme: Tenant) -> None:
    assert corrections.credit(acme, Decimal("-12.5"), Why("goodwill", "finance"))
    entry = LedgerEntry.objects.get()
    today = local_day(datetime.now(UTC), acme.timezone)
    assert (entry.kind, entry.credit, entry.cost) == ("credit", Decimal("-12.5"), Decimal(0))
    assert (entry.cost_center, entry.local_day, entry.corrects) == ("R&D", today, None)
    sums = figures(acme, Span(today, today))
    assert (sums.credit, sums.price, sums.requests) == (Decimal("-12.5"), Decimal("-12.5"), 0)
    with pytest.raises(CorrectionRefused, match="credit of nothing"):
        corrections.credit(acme, Decimal(0), WHY)


def test_form_that_is_sent_twice_is_written_once(acme: Tenant, price: Price) -> None:
    request, first, second = charged(acme, price), uuid7(), uuid7()
    away = Change(UsageFigures(output=-5))
    assert corrections.correct(request, away, WHY, correction_id=first)
    assert not corrections.correct(request, away, WHY, correction_id=first)
    assert corrections.credit(acme, Decimal(1), WHY, credit_id=second)
    assert not corrections.credit(acme, Decimal(1), WHY, credit_id=second)
    assert LedgerEntry.objects.count() == 3


def test_correction_names_a_request(acme: Tenant, price: Price) -> None:
    request = charged(acme, price)
    corrections.correct(request, Change(UsageFigures(output=1)), WHY)
    corrections.credit(acme, Decimal(1), WHY)
    (correction,) = later(request)
    assert corrections.request_of(correction) == request
    assert corrections.request_of(LedgerEntry.objects.get(kind="credit")) is None
    with pytest.raises(CorrectionRefused, match="names a request"):
        corrections.correct(correction, Change(UsageFigures(output=1)), WHY)


@pytest.mark.django_db(transaction=True)
def test_two_at_once_take_away_no_more_than_there_is() -> None:
    tenant = make_tenant("acme")
    request = charged(tenant, None)
    refused = []

    def take_away() -> None:
        try:
            corrections.correct(request, Change(UsageFigures(output=-3)), WHY)
        except CorrectionRefused as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [Thread(target=take_away) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert corrections.standing(request).tokens.output == 2


DELTAS = st.integers(-8, 8)
CHANGES = st.builds(
    Change,
    st.builds(UsageFigures, DELTAS, DELTAS, DELTAS, DELTAS, DELTAS),
    st.none() | st.decimals(-1, 1, places=10),
)


class Sums(TestCase):
    """Whatever is corrected in whatever order, reports equal the entries."""

    @given(priced=st.booleans(), changes=st.lists(CHANGES, max_size=6), rolled_up=st.booleans())
    @settings(max_examples=30, suppress_health_check=list(HealthCheck))
    def test_sums_after_any_corrections(
        self, priced: bool, changes: list[Change], rolled_up: bool
    ) -> None:
        tenant = make_tenant(f"t-{uuid7()}")
        price = make_price(make_model(f"m-{uuid7()}"), input="2", output="10") if priced else None
        request = charged(tenant, price)
        written = UsageFigures(input=10, output=5)
        for change in changes:
            try:
                corrections.correct(request, change, WHY)
            except CorrectionRefused:
                continue
            written = corrections._sum([written, change.tokens])
        if rolled_up:
            rollups.roll_up_new(margin=timedelta(0))
        stands, sums = corrections.standing(request), figures(tenant)
        assert stands.tokens == written
        assert (sums.input_tokens, sums.output_tokens) == (written.input, written.output)
        assert (sums.requests, sums.cost) == (1, stands.cost or 0)
        assert sums.cost >= 0
        assert sums.unpriced_tokens == stands.unpriced.total >= 0
        assert min(written.input, written.cached, written.output, written.reasoning) >= 0
