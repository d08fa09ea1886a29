"""Reports equal the sum of the entries at any moment, however far the roll-ups have come."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from pytest_django import DjangoAssertNumQueries

from tenants_app.models import Tenant
from tests.factories import make_tenant
from tests.usage_app.entries import make_correction, make_credit, make_entry
from usage_app import rollups, selectors
from usage_app.figures import MONEY_DIGITS, Figures, Span, total
from usage_app.models import DailyUsage, LedgerEntry, Margin

MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
NOTHING = timedelta(0)
EVERYTHING = ("tenant_id", "day", "cost_center", "api_key_id", "model")

Group = tuple[Any, ...]


def sums_of_entries(span: Span) -> dict[Group, Figures]:
    """What the report must show, added up in Python."""
    found: dict[Group, Figures] = defaultdict(Figures)
    for entry in LedgerEntry.objects.filter(local_day__range=(span.first, span.last)):
        day, center = entry.local_day, entry.cost_center
        group = (entry.tenant_id, day, center, entry.api_key_id, entry.model)
        found[group] = total([found[group], figures_of(entry)])
    return found


def margin_of(entry: LedgerEntry) -> Decimal:
    """The margin of the entry's day, in percent."""
    margins = Margin.objects.filter(tenant=entry.tenant, valid_from__lte=entry.local_day)
    newest = margins.order_by("-valid_from").first()
    return newest.percent if newest else Decimal(0)


def figures_of(entry: LedgerEntry) -> Figures:
    usage, unpriced = entry.kind == "usage", entry.cost is None
    cost, credit = entry.cost or Decimal(0), entry.credit or Decimal(0)
    with localcontext(prec=MONEY_DIGITS):
        price = cost + cost * margin_of(entry) / 100 + credit
    return Figures(
        requests=usage,
        errors=usage and entry.outcome == "error",
        aborted=usage and entry.outcome == "aborted",
        expired=usage and entry.outcome == "expired",
        attempts=len(entry.attempts),
        input_tokens=entry.input_tokens,
        cached_tokens=entry.cached_tokens,
        cache_write_tokens=entry.cache_write_tokens,
        output_tokens=entry.output_tokens,
        reasoning_tokens=entry.reasoning_tokens,
        total_tokens=entry.total_tokens,
        estimated_tokens=entry.total_tokens * (entry.usage_source != "provider"),
        unpriced_tokens=entry.total_tokens * unpriced,
        unpriced_requests=usage and unpriced,
        cost=cost,
        credit=credit,
        price=price,
    )


def test_closed_days_come_from_the_roll_ups(db: None) -> None:
    tenant = make_tenant()
    make_entry(tenant, created_at=NOON)
    make_entry(tenant, created_at=NOON + timedelta(days=1))
    rollups.roll_up_new(margin=NOTHING)
    DailyUsage.objects.update(requests=1000)
    late = make_entry(tenant, created_at=NOON)
    days = selectors.usage(["day"], MARCH, tenant=tenant)
    assert [(day, figures.requests) for (day,), figures in days] == [
        (late.local_day, 2),
        (late.local_day + timedelta(days=1), 1000),
    ]


def test_late_correction_of_a_closed_day_shows_at_once(db: None) -> None:
    tenant = make_tenant()
    entry = make_entry(tenant, created_at=NOON, cost=Decimal(3))
    rollups.roll_up_new(margin=NOTHING)
    make_correction(entry, input_tokens=0, output_tokens=0, cost=Decimal("-2.9999999999"))
    ((_, figures),) = selectors.usage(["tenant_id"], MARCH)
    assert (figures.requests, figures.cost) == (1, Decimal("0.0000000001"))


def test_price_is_the_cost_with_the_margin_of_its_day_and_the_credit(db: None) -> None:
    tenant = make_tenant()
    Margin.objects.create(tenant=tenant, valid_from=NOON.date(), percent=Decimal("12.5"))
    Margin.objects.create(
        tenant=tenant, valid_from=NOON.date() + timedelta(days=1), percent=Decimal(-50)
    )
    for days in (-1, 0, 1):
        make_entry(tenant, created_at=NOON + timedelta(days=days), cost=Decimal("0.0000000008"))
    make_credit(tenant, created_at=NOON, credit=Decimal("-0.0000000003"))
    for _ in range(2):
        ((_, figures),) = selectors.usage(["tenant_id"], MARCH)
        assert (figures.cost, figures.credit) == (Decimal("2.4E-9"), Decimal("-3E-10"))
        assert figures.price == Decimal("8E-10") + Decimal("9E-10") + Decimal("4E-10") - Decimal(
            "3E-10"
        )
        rollups.roll_up_new(margin=NOTHING)


def test_cost_centres_are_kept_apart(db: None) -> None:
    tenant = make_tenant()
    for center in ("", "research", "research"):
        make_entry(tenant, created_at=NOON, cost_center=center)
    for _ in range(2):
        centers = selectors.usage(["cost_center"], MARCH)
        assert [(center, sums.requests) for (center,), sums in centers] == [
            ("", 1),
            ("research", 2),
        ]
        rollups.roll_up_new(margin=NOTHING)


def test_tenant_sees_only_its_own(db: None) -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    for tenant, model in ((acme, "a"), (globex, "g")):
        make_entry(tenant, created_at=NOON, model=model)
    for _ in range(2):
        assert [group for group, _ in selectors.usage(["model"], MARCH, tenant=acme)] == [("a",)]
        rollups.roll_up_new(margin=NOTHING)


def test_days_outside_the_span_do_not_count(db: None) -> None:
    tenant = make_tenant(timezone="Pacific/Auckland")
    for text in (
        "2026-02-28T10:59Z",
        "2026-02-28T11:00Z",
        "2026-03-31T10:59Z",
        "2026-03-31T11:00Z",
    ):
        make_entry(tenant, created_at=datetime.fromisoformat(text))
    for _ in range(2):
        ((_, figures),) = selectors.usage(["tenant_id"], MARCH)
        assert figures.requests == 2
        rollups.roll_up_new(margin=NOTHING)


@pytest.mark.parametrize("tenants", [1, 30])
def test_number_of_queries_is_the_same_for_any_number_of_tenants(
    db: None, tenants: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(tenants):
        make_entry(make_tenant(f"tenant-{number}"), created_at=NOON)
    with django_assert_num_queries(2):
        assert len(selectors.usage(["tenant_id"], MARCH)) == tenants


def test_unknown_cost_is_not_nothing() -> None:
    assert Figures(requests=1, total_tokens=5, cost=Decimal(0)).known_cost == 0
    unpriced = Figures(requests=1, total_tokens=5, unpriced_requests=1, unpriced_tokens=5)
    assert unpriced.known_cost is None
    assert total([unpriced, Figures(requests=1, total_tokens=1)]).known_cost == 0
    assert (unpriced.unpriced_share, unpriced.estimated_share) == (1, 0)
    assert Figures(total_tokens=4, estimated_tokens=10).estimated_share == 1
    assert Figures(total_tokens=-4, estimated_tokens=10).estimated_share == 0


# --- any order ----------------------------------------------------------------------------------

SPOTS = [
    datetime.fromisoformat(text)
    # Around the change of the clocks, the ends of months and of the year in the zones below.
    for text in (
        "2026-03-08T06:59Z", "2026-03-08T07:00Z", "2026-03-28T22:59Z", "2026-03-28T23:00Z",
        "2026-03-29T21:59Z", "2026-03-29T22:00Z", "2026-03-31T18:29Z", "2026-03-31T18:30Z",
        "2026-12-31T10:59Z", "2026-12-31T11:00Z", "2027-01-01T04:59Z", "2027-01-01T05:00Z",
    )
]  # fmt: skip
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]
COSTS = st.none() | st.decimals(0, 10**9, places=10)
ENTRY = st.fixed_dictionaries(
    {
        "created_at": st.sampled_from(SPOTS),
        "model": st.sampled_from(["a", "b"]),
        "cost_center": st.sampled_from(["", "research"]),
        "input_tokens": st.integers(0, 10**9),
        "cached_tokens": st.integers(0, 10),
        "cost": COSTS,
        "outcome": st.sampled_from(["ok", "error", "aborted", "expired"]),
        "usage_source": st.sampled_from(["provider", "estimated", "partial", "expired"]),
        "attempts": st.lists(st.just({}), max_size=3),
    }
)
CORRECTION = st.fixed_dictionaries(
    {
        "input_tokens": st.integers(-(10**6), 10**6),
        "output_tokens": st.integers(-(10**6), 10**6),
        "cost": st.none() | st.decimals(-1000, 1000, places=10),
        "kind": st.sampled_from(["correction", "adjustment"]),
    }
)
CREDIT = st.fixed_dictionaries(
    {
        "kind": st.just("credit"),
        "created_at": st.sampled_from(SPOTS),
        "credit": st.decimals(-(10**9), 10**9, places=10),
    }
)
MARGIN = st.fixed_dictionaries(
    {
        "valid_from": st.sampled_from(SPOTS).map(datetime.date),
        "percent": st.decimals(-100, 9999, places=4),
    }
)
WHO = st.integers(0, 1)
STEPS = st.lists(
    st.tuples(WHO, ENTRY | CORRECTION | CREDIT | MARGIN) | st.just("new") | st.just("recent"),
    min_size=1,
    max_size=10,
)


class AnyMoment(TestCase):
    @settings(max_examples=35, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        steps=STEPS, zones=st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)), span=st.data()
    )
    def test_report_equals_the_entries_at_any_moment(
        self, steps: list[Any], zones: tuple[str, str], span: st.DataObject
    ) -> None:
        tenants = [make_tenant(f"t-{uuid4().hex[:8]}", timezone=zone) for zone in zones]
        written: dict[int, list[LedgerEntry]] = {0: [], 1: []}
        for step in steps:
            if step == "new":
                rollups.roll_up_new(margin=NOTHING)
            elif step == "recent":
                rollups.roll_up_recent(days=1)
            else:
                self.write(step, tenants, written)
            self.compare(MARCH)
        first = span.draw(st.sampled_from(SPOTS)).date()
        self.compare(Span(first, first + timedelta(days=span.draw(st.integers(0, 300)))))

    def write(
        self, step: Any, tenants: list[Tenant], written: dict[int, list[LedgerEntry]]
    ) -> None:
        who, fields = step
        if "percent" in fields:
            percent = {"percent": fields["percent"]}
            start = fields["valid_from"]
            Margin.objects.update_or_create(percent, tenant=tenants[who], valid_from=start)
        elif fields.get("kind") == "credit":
            make_credit(tenants[who], **fields)
        elif "kind" not in fields:
            written[who].append(make_entry(tenants[who], **fields))
        elif written[who]:
            make_correction(written[who][0], **fields)

    def compare(self, span: Span) -> None:
        expected = sums_of_entries(span)
        found = dict(selectors.usage(EVERYTHING, span))
        assert found == expected
        by_tenant = [figures for _, figures in selectors.usage(["tenant_id"], span)]
        assert total(by_tenant) == total(expected.values())
