"""A raise makes sense, is cancelled at most once, and stays on record as long as its budget."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tenants_app import directory, keys, raises
from tenants_app.models import Budget, BudgetRaise, Tenant
from tenants_app.raises import Terms
from tenants_app.snapshots import Limit, Raise, limit_of
from tests.factories import make_budget, make_key, make_raise, make_team, make_tenant
from tests.loops import run
from tests.tenants_app.test_audit import _of
from tests.tenants_app.test_teams import refused
from tests.tenants_app.test_versions import version
from usage_app import selectors

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def budget() -> Budget:
    return make_budget(make_tenant(), "tokens", "day", 1000)


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("raise_extra_is_positive", {"extra": 0}),
        ("raise_extra_is_positive", {"extra": 10**12 + 1}),
        ("raise_is_whole_unless_of_cost", {"extra": "0.5"}),
        ("raise_ends_after_it_begins", {"ends_at": NOON, "starts_at": NOON}),
        ("raise_is_within_the_calendar", {"ends_at": datetime(9999, 6, 1, tzinfo=UTC)}),
        ("raise_says_why_and_by_whom", {"reason": " \n"}),
        ("raise_says_why_and_by_whom", {"created_by": ""}),
        ("raise_is_cancelled_by_somebody", {"cancelled_at": NOON}),
    ],
)
def test_raise_that_makes_no_sense_is_refused(
    budget: Budget, constraint: str, fields: dict[str, Any]
) -> None:
    assert constraint in refused(lambda: make_raise(budget, **fields))


@pytest.mark.parametrize(
    ("metric", "period"), [("requests", "concurrent"), ("tokens", "minute"), ("requests", "minute")]
)
def test_only_days_and_months_are_raised(budget: Budget, metric: str, period: str) -> None:
    other = make_budget(budget.tenant, metric, period, 5)
    assert "raise_is_of_a_day_or_a_month" in refused(lambda: make_raise(other))


def test_raise_is_of_its_budgets_tenant(budget: Budget) -> None:
    globex = make_tenant("globex")
    assert "raise_belongs_to_its_budget" in refused(lambda: make_raise(budget, tenant=globex))


def test_budget_has_twenty_raises_that_are_not_over(budget: Budget) -> None:
    make_raise(budget, starts_at=NOON - 2 * HOUR, ends_at=NOON - HOUR)
    raises.cancel(make_raise(budget), by="ann")
    for _ in range(20):
        make_raise(budget)
    assert "raise_is_one_of_twenty" in refused(lambda: make_raise(budget))


def test_raise_is_cancelled_once_and_never_edited(budget: Budget) -> None:
    given = make_raise(budget)
    rows = BudgetRaise.objects.filter(pk=given.pk)
    edits: list[dict[str, Any]] = [
        {"extra": 7},
        {"ends_at": given.ends_at + HOUR},
        {"reason": "another"},
        {"created_by": "bob"},
        {"cancelled_at": NOON, "cancelled_by": "bob", "extra": 7},
    ]
    for edit in edits:
        assert "raise_is_cancelled_once" in refused(lambda edit=edit: rows.update(**edit))
    assert raises.cancel(given, by="ann")
    assert not raises.cancel(given, by="bob")
    again = {"cancelled_at": None, "cancelled_by": ""}
    assert "raise_is_cancelled_once" in refused(lambda: rows.update(**again))
    assert "raise_is_cancelled_once" in refused(lambda: rows.update(cancelled_by="bob"))
    assert rows.get().cancelled_by == "ann"


def test_raise_that_is_over_is_not_cancelled(budget: Budget) -> None:
    over = make_raise(budget, starts_at=NOON - 2 * HOUR, ends_at=NOON - HOUR)
    rows = BudgetRaise.objects.filter(pk=over.pk)
    assert not raises.cancel(over, by="ann")
    assert "raise_that_is_over" in refused(
        lambda: rows.update(cancelled_at=NOON, cancelled_by="ann")
    )


def test_raise_goes_with_its_budget_and_in_no_other_way(budget: Budget) -> None:
    given = make_raise(budget)
    assert "raise_stays_as_long_as_its_budget" in refused(given.delete)
    budget.delete()
    assert not BudgetRaise.objects.exists()
    # The audit trail has it still, and that it went.
    assert [event.pgh_label for event in _of(BudgetRaise)] == ["insert", "delete"]
    lone = make_raise(make_budget(budget.tenant, "tokens", "day", 5))
    Tenant.objects.get().delete()
    assert not BudgetRaise.objects.filter(pk=lone.pk).exists()


def test_budget_that_was_raised_changes_its_limit_only(budget: Budget) -> None:
    given = make_raise(budget)
    rows = Budget.objects.filter(pk=budget.pk)
    team, globex = make_team(budget.tenant), make_tenant("globex")
    others: list[dict[str, Any]] = [
        {"metric": "cost"}, {"period": "minute"}, {"team": team}, {"tenant": globex},
    ]  # fmt: skip
    for change in others:
        told = refused(lambda change=change: rows.update(**change))
        assert "budget_that_was_raised" in told
    rows.update(limit=5, alert_percents=[50])
    assert BudgetRaise.objects.get() == given


def test_raise_and_its_end_are_audited_with_who_and_why(budget: Budget) -> None:
    given = make_raise(budget, reason="the launch")
    raises.cancel(given, by="ann")
    events = [(e.pgh_label, e.reason, e.cancelled_by) for e in _of(BudgetRaise)]
    assert events == [("insert", "the launch", ""), ("update", "the launch", "ann")]


def test_raise_begins_now_by_the_databases_clock(budget: Budget) -> None:
    before = selectors.clock()
    given = raises.give(budget, Terms(5, " why ", ends_at=before + HOUR), by="ann")
    given.refresh_from_db()
    assert before <= given.starts_at <= selectors.clock()
    assert (given.reason, given.tenant, given.created_by) == ("why", budget.tenant, "ann")


def test_limit_at_a_moment_is_with_the_raises_in_force_then() -> None:
    def span(first: int, last: int, extra: int) -> Raise:
        return Raise(NOON + first * HOUR, NOON + last * HOUR, extra)

    limit = Limit("tokens", "day", 100, raises=(span(0, 4, 10), span(1, 2, 5), span(3, 6, 50)))
    hours = [limit.at(NOON + hour * HOUR) for hour in (-1, 0, 1, 2, 3, 4, 6)]
    assert hours == [100, 110, 115, 110, 160, 150, 100]
    assert limit.at(NOON - timedelta(microseconds=1)) == 100
    assert limit.most(NOON, NOON + 2 * HOUR) == 115
    assert limit.most(NOON + 2 * HOUR, NOON + 2 * HOUR) == 110
    assert limit.most(NOON + 4 * HOUR, NOON + 9 * HOUR) == 150
    assert limit.most(NOON - HOUR, NOON + 9 * HOUR) == 160


def test_raise_of_money_is_exact() -> None:
    span = ("2026-06-01T12:00:00+00:00", "2026-06-01T13:00:00.5+00:00")
    limit = limit_of("cost", "month", Decimal(1), None, [(*span, "0.0000000001")])
    assert limit.at(NOON) == 10**10 + 1
    assert limit.raises[0].ends_at == NOON + HOUR + timedelta(milliseconds=500)


@pytest.mark.django_db(transaction=True)
def test_snapshot_has_the_raises_of_each_scope_and_learns_of_changes() -> None:
    acme = make_tenant()
    team = make_team(acme)
    key = make_key(acme, team=team)
    budgets = [
        make_budget(acme, "tokens", "day", 100),
        make_budget(acme, "tokens", "day", 100, team=team),
        make_budget(acme, "tokens", "day", 100, api_key=key.key),
    ]
    before = version(acme)
    given = [make_raise(one, extra=place) for place, one in enumerate(budgets, start=1)]
    assert version(acme) == before + 3

    async def known() -> Any:
        caller = await directory.by_digest(keys.digest(key.secret))
        assert caller is not None
        return await directory.ensure_current(caller)

    def extras() -> list[list[int]]:
        return [[one.extra for one in limit.raises] for limit in run(known()).limits]

    assert extras() == [[1], [2], [3]]
    raises.cancel(given[1], by="ann")
    later = datetime.now(UTC) + HOUR
    make_raise(budgets[0], extra=9, starts_at=later, ends_at=later + HOUR)
    assert extras() == [[1, 9], [], [3]]
    budgets[2].delete()
    assert extras() == [[1, 9], []]
