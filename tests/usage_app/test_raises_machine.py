"""Whatever happens to raises and holds, in any order: nobody gets more than the limit of the moment
has room for, and nobody is refused who fits.
"""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tenants_app import database, directory, raises
from tenants_app.models import Budget, BudgetRaise, Tenant
from tenants_app.models.raises import MOST_RAISES
from tests.factories import make_budget, make_raise, make_tenant
from tests.usage_app.test_ledger import used, wish
from usage_app import ledger, selectors
from usage_app.errors import BudgetExceeded
from usage_app.holds import Hold, release
from usage_app.models import UsageWindow

LEAST, INPUT = 16, 10

T = TypeVar("T")
_numbers = count(1)


class RaisesMachine(RuleBasedStateMachine):
    """A tenant with budgets of a day and of a month, whose raises begin and end while it asks."""

    open_holds: Bundle[Hold] = Bundle("open_holds")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def a_tenant_with_two_budgets(self) -> None:
        self.tenant: Tenant = make_tenant(f"acme-{next(_numbers)}")
        for period, limit in (("day", 150), ("month", 200)):
            make_budget(self.tenant, "tokens", period, limit)

    @rule(
        period=st.sampled_from(["day", "month"]),
        extra=st.integers(1, 200),
        begins_ms=st.integers(-50, 50),
        lasts_ms=st.integers(1, 150) | st.just(3_600_000),
    )
    def give(self, period: str, extra: int, begins_ms: int, lasts_ms: int) -> None:
        begins = selectors.clock() + timedelta(milliseconds=begins_ms)
        ends = begins + timedelta(milliseconds=lasts_ms)
        budget = Budget.objects.get(tenant=self.tenant, period=period)
        if BudgetRaise.objects.filter(budget=budget).count() < MOST_RAISES:
            make_raise(budget, extra=extra, starts_at=begins, ends_at=ends)

    @rule()
    def cancel_the_newest(self) -> None:
        newest = BudgetRaise.objects.for_tenant(self.tenant).first()
        if newest is not None:
            raises.cancel(newest, by="ann")

    @rule(period=st.sampled_from(["day", "month"]), limit=st.integers(1, 300))
    def change_the_limit(self, period: str, limit: int) -> None:
        Budget.objects.filter(tenant=self.tenant, period=period).update(limit=limit)

    @rule(target=open_holds, output=st.integers(1, 120))
    def ask(self, output: int) -> Any:
        committed = self.committed()
        before = selectors.clock()
        try:
            hold = self.wait(self.reserved(output))
        except BudgetExceeded:
            least = INPUT + min(LEAST, output)
            after = selectors.clock()
            # It did not fit at some moment in between.
            limits = [self.limits(moment) for moment in (*self.edges(before, after), after)]
            assert any(committed[p] + least > limit[p] for limit in limits for p in limit)
            return multiple()
        limits_then = self.limits(hold.created_at)
        assert all(committed[p] + hold.tokens <= limits_then[p] for p in limits_then)
        return hold

    @rule(hold=consumes(open_holds), tokens=st.integers(0, 150))
    def settle(self, hold: Hold, tokens: int) -> None:
        self.wait(ledger.settle(hold, used(hold, tokens)))

    @rule(hold=consumes(open_holds))
    def give_up(self, hold: Hold) -> None:
        self.wait(ledger.settle(hold, release(hold)))

    async def reserved(self, output: int) -> Hold:
        found = await directory.by_slug(self.tenant.slug)
        assert found is not None
        caller = await directory.ensure_current(found)
        return await ledger.reserve(wish(caller, input=INPUT, output=output))

    def committed(self) -> dict[str, int]:
        """What is used and held."""
        rows = UsageWindow.objects.for_tenant(self.tenant)
        sums = {row.period: row.tokens + row.held_tokens for row in rows}
        return {"day": 0, "month": 0} | sums

    def limits(self, moment: datetime) -> dict[str, int]:
        """What the rows say that may be used, counted one by one."""
        found = {}
        for budget in Budget.objects.for_tenant(self.tenant):
            extras = [
                one.extra
                for one in BudgetRaise.objects.filter(budget=budget, cancelled_at=None)
                if one.starts_at <= moment < one.ends_at
            ]
            found[budget.period] = int(budget.limit + sum(extras))
        return found

    def edges(self, before: datetime, after: datetime) -> list[datetime]:
        """The moment before, and those at which a raise began or ended meanwhile."""
        rows = BudgetRaise.objects.for_tenant(self.tenant)
        spans = rows.values_list("starts_at", "ends_at")
        between = [edge for span in spans for edge in span if before <= edge <= after]
        return [before, *between]

    def teardown(self) -> None:
        self.wait(_close())
        self.loop.close()


async def _close() -> None:
    await ledger.current().close()
    await database.close()


@pytest.mark.django_db(transaction=True)
def test_nobody_gets_more_than_the_limit_of_the_moment() -> None:
    run_state_machine_as_test(
        RaisesMachine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
