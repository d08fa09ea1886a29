"""Re-pricing says first what it changes, writes corrections, and comes to price times tokens:
however often, in whatever order, and wherever it is interrupted.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tenants_app.models import Tenant
from tenants_app.tracing import uuid7
from tests.factories import make_model, make_tenant
from tests.usage_app.entries import make_correction, make_entry, make_statement
from usage_app import corrections, ledger_corrections, rollups, selectors
from usage_app.corrections import Change, CorrectionRefused, Why
from usage_app.figures import Figures, Span
from usage_app.models import LedgerEntry, Price
from usage_app.periods import local_day
from usage_app.prices import repricing
from usage_app.prices.repricing import Scope
from usage_app.pricing import UsageFigures

NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
WHY = Why("the list was late", "finance")
OLD, NEW = Decimal("0.00007"), Decimal("0.000035")


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def prices(db: None) -> list[Price]:
    return make_prices("m")


def make_prices(public_id: str) -> list[Price]:
    """10 tokens in and 5 out cost 0.00007 since January, and half of it since 14 March, 12:00."""
    model, january = make_model(public_id), datetime(2026, 1, 1, tzinfo=UTC)
    march = NOON.replace(minute=0)
    return [
        Price.objects.create(model=model, valid_from=january, input=2, output=10),
        Price.objects.create(model=model, valid_from=march, input=1, output=5, cached_input=0),
    ]


def charged(tenant: Tenant, price: Price | None, **fields: Any) -> LedgerEntry:
    """A request after noon, charged as if the second price had not been there yet."""
    cost = None if price is None else OLD
    return make_entry(
        tenant, **{"created_at": NOON, "model": "m", "price": price, "cost": cost, **fields}
    )


def told(found: list[repricing.Difference]) -> list[tuple[Any, ...]]:
    return [
        (one.tenant, one.model, one.state, one.requests, one.before, one.after) for one in found
    ]


def figures(tenant: Tenant) -> Figures:
    found = selectors.usage(["tenant_id"], MARCH, tenant=tenant)
    return found[0][1] if found else Figures()


def test_difference_is_told_first_and_then_written(acme: Tenant, prices: list[Price]) -> None:
    request = charged(acme, prices[0])
    charged(acme, prices[0], created_at=NOON - timedelta(hours=2))
    scope = Scope(MARCH)
    expected = [("acme", "m", "differs", 1, OLD, NEW)]
    assert told(repricing.differences(scope)) == expected
    assert LedgerEntry.objects.count() == 2
    assert told(repricing.reprice(scope, WHY)) == expected
    entry = LedgerEntry.objects.get(kind="correction")
    assert (entry.corrects, entry.cost, entry.total_tokens) == (request.id, NEW - OLD, 0)
    assert (entry.price, entry.reason, entry.author) == (prices[1], WHY.reason, WHY.author)
    assert entry.local_day == request.local_day
    assert repricing.differences(scope) == repricing.reprice(scope, WHY) == []
    assert LedgerEntry.objects.count() == 3


def test_requests_without_a_price_get_one_and_count_as_priced(
    acme: Tenant, prices: list[Price]
) -> None:
    charged(acme, None)
    charged(acme, None, model="unknown")
    assert repricing.unpriced(acme, MARCH) == (2, 30)
    found = told(repricing.reprice(Scope(MARCH), WHY))
    assert repricing.unpriced(acme, MARCH) == (1, 15)
    assert found == [
        ("acme", "m", "differs", 1, 0, NEW),
        ("acme", "unknown", "no price", 1, 0, 0),
    ]
    sums = figures(acme)
    assert (sums.requests, sums.total_tokens, sums.unpriced_tokens) == (2, 30, 15)
    assert (sums.cost, sums.attempts) == (NEW, 2)
    assert told(repricing.reprice(Scope(MARCH), WHY)) == found[1:]


def test_cost_that_somebody_gave_stays(acme: Tenant, prices: list[Price]) -> None:
    by_hand, by_price = charged(acme, prices[0]), charged(acme, prices[0])
    corrections.correct(by_hand, Change(cost=Decimal("0.5")), WHY)
    corrections.correct(by_price, Change(UsageFigures(output=5)), WHY)
    found = told(repricing.reprice(Scope(MARCH), WHY))
    assert [one[2:4] for one in found] == [("by hand", 1), ("differs", 1)]
    assert corrections.standing(by_hand).cost == OLD + Decimal("0.5")
    assert corrections.standing(by_price).cost == Decimal("0.00006")


def test_request_that_was_settled_late_is_priced_as_a_whole(
    acme: Tenant, prices: list[Price]
) -> None:
    """The sweep charged another model, and the settlement told the difference."""
    request = charged(acme, prices[0], model="other", outcome="expired", usage_source="expired")
    late = {"kind": "adjustment", "model": "m", "price": prices[0], "reason": "", "author": ""}
    make_correction(request, input_tokens=10, cached_tokens=4, output_tokens=-5, cost=1, **late)
    repricing.reprice(Scope(MARCH), WHY)
    # 16 plain at 1 and 4 cached at nothing.
    assert corrections.standing(request).cost == Decimal("0.000016")


def test_scope_keeps_to_its_days_tenant_and_model(acme: Tenant, prices: list[Price]) -> None:
    globex = make_tenant("globex", timezone="Pacific/Auckland")
    make_prices("n")
    for tenant in (acme, globex):
        charged(tenant, prices[0])
        charged(tenant, prices[0], model="n")
    # It is the 15th in Auckland already.
    day = Span(date(2026, 3, 14), date(2026, 3, 14))
    assert told(repricing.differences(Scope(day, model="n"))) == [
        ("acme", "n", "differs", 1, OLD, NEW)
    ]
    assert len(repricing.differences(Scope(MARCH, tenant=globex))) == 2
    assert repricing.differences(Scope(day, tenant=globex)) == []


def test_closed_month_is_repriced_in_the_open_one(acme: Tenant, prices: list[Price]) -> None:
    charged(acme, prices[0])
    make_statement(acme, date(2026, 3, 1))
    repricing.reprice(Scope(MARCH), WHY)
    entry = LedgerEntry.objects.get(kind="correction")
    assert entry.local_day == local_day(datetime.now(UTC), acme.timezone)
    assert figures(acme).cost == OLD
    assert repricing.differences(Scope(MARCH)) == []


def test_run_that_dies_between_two_days_is_gone_on_with(
    acme: Tenant, prices: list[Price], monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in range(3):
        charged(acme, prices[0], created_at=NOON + timedelta(days=days))
    write, runs = ledger_corrections.reprice, []

    def dying(day: dict[str, Any]) -> Any:
        runs.append(day)
        if len(runs) == 2:
            write(day)
            raise RuntimeError
        return write(day)

    monkeypatch.setattr(ledger_corrections, "reprice", dying)
    with pytest.raises(RuntimeError):
        repricing.reprice(Scope(MARCH), WHY)
    assert LedgerEntry.objects.filter(kind="correction").count() == 1
    assert told(repricing.reprice(Scope(MARCH), WHY))[0][3] == 2
    assert figures(acme).cost == 3 * NEW


def run(**options: Any) -> list[str]:
    out = StringIO()
    given = {"first": date(2026, 3, 1), "last": date(2026, 3, 31), **options}
    call_command("reprice", stdout=out, **given)
    return out.getvalue().splitlines()


def test_command_tells_the_difference_and_writes_with_a_reason(
    acme: Tenant, prices: list[Price]
) -> None:
    charged(acme, prices[0])
    charged(acme, None, model="unknown")
    arrow = "0.00007 → 0.000035 (-0.000035)"
    lines = [
        f"acme m: 1 request, price from 2026-01-01 → price from 2026-03-14T12:00:00Z: {arrow}",
        "acme unknown: 1 request left alone: the book has no price for them",
    ]
    total = f"1 request differs: {arrow}"
    assert run(dry_run=True) == [*lines, f"{total}; a dry run, so nothing was written"]
    with pytest.raises(CommandError, match=r"has a reason and an author\. Nothing was"):
        run()
    assert LedgerEntry.objects.count() == 2
    assert run(tenant="acme", reason="late list", author="finance") == [*lines, total]
    assert run(reason="late list")[-1] == "0 requests differ: 0 → 0 (+0)"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tenant": "nobody"}, "There is no tenant 'nobody'"),
        ({"model": "nothing"}, "There is no model 'nothing'"),
        ({"first": date(2026, 4, 1)}, "--from is after --to"),
    ],
)
def test_command_that_makes_no_sense_is_refused(
    db: None, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(CommandError, match=problem):
        run(dry_run=True, **options)


STEPS = st.lists(
    st.sampled_from(["reprice", "supersede", "roll up"])
    | st.builds(UsageFigures, st.integers(-5, 5), output=st.integers(-5, 5)),
    max_size=8,
)


class Convergence(TestCase):
    """However prices, corrections, roll-ups and re-pricing follow each other."""

    @given(priced=st.booleans(), steps=STEPS)
    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    def test_cost_is_price_times_tokens_after_any_steps(self, priced: bool, steps: Any) -> None:
        tenant, name = make_tenant(f"t-{uuid7()}"), f"m-{uuid7()}"
        first, second = make_prices(name)
        scope = Scope(MARCH, tenant=tenant)
        request = charged(tenant, first if priced else None, model=name)
        rate = second
        for step in [*steps, "reprice", "reprice"]:
            if step == "reprice":
                repricing.reprice(scope, WHY)
            elif step == "roll up":
                rollups.roll_up_new(margin=timedelta(0))
            elif step == "supersede":
                start, figure = rate.valid_from + timedelta(seconds=1), rate.input + 1
                rate = Price.objects.create(
                    model=rate.model, valid_from=start, input=figure, output=figure
                )
            else:
                try:
                    corrections.correct(request, Change(step), WHY)
                except CorrectionRefused:
                    continue
        rate.refresh_from_db()
        stands, sums = corrections.standing(request), figures(tenant)
        assert stands.cost == corrections._cost(rate, stands.tokens) == sums.cost
        assert (sums.unpriced_tokens, sums.requests) == (0, 1)
        assert repricing.differences(scope) == []
