"""The ledger's invariants hold after any sequence of what can happen to holds."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tenants_app import database, directory, keys
from tenants_app.models import Tenant
from tests.factories import make_budget, make_key, make_team, make_tenant
from tests.usage_app.test_ledger import used, wish
from usage_app import ledger, ledger_sync
from usage_app.errors import BudgetExceeded
from usage_app.holds import Hold, release
from usage_app.models import GatewayProcess, LedgerEntry, Reservation, UsageWindow

# A test's Postgres is younger than the sweep's half minute.
SILENCE = timedelta(milliseconds=100)
DAY_LIMIT, TEAM_LIMIT, KEY_LIMIT = 600, 400, 300

T = TypeVar("T")
_numbers = count(1)


class LedgerMachine(RuleBasedStateMachine):
    """A tenant, a team of it and a key of that, each with a day budget in tokens; holds that end in
    every way.
    """

    open_holds: Bundle[Hold] = Bundle("open_holds")
    ended_holds: Bundle[Hold] = Bundle("ended_holds")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def a_tenant_with_a_key(self) -> None:
        self.tenant: Tenant = make_tenant(f"acme-{next(_numbers)}")
        team = make_team(self.tenant)
        issued = make_key(self.tenant, team=team)
        others = make_key(self.tenant, "other", team=team)
        self.digests = {"key": keys.digest(issued.secret), "other": keys.digest(others.secret)}
        make_budget(self.tenant, "tokens", "day", DAY_LIMIT)
        make_budget(self.tenant, "tokens", "day", TEAM_LIMIT, team=team)
        make_budget(self.tenant, "tokens", "day", KEY_LIMIT, api_key=issued.key)
        make_budget(self.tenant, "tokens", "minute", 10**6)

    async def reserved(self, by: str, tokens_in: int, tokens_out: int) -> Hold:
        digest = self.digests.get(by)
        found = directory.by_digest(digest) if digest else directory.by_slug(self.tenant.slug)
        caller = await found
        assert caller is not None
        return await ledger.reserve(wish(caller, input=tokens_in, output=tokens_out))

    @rule(
        target=open_holds,
        by=st.sampled_from(["edge", "key", "other"]),
        tokens_in=st.integers(1, 60),
        tokens_out=st.integers(1, 120),
    )
    def reserve(self, by: str, tokens_in: int, tokens_out: int) -> Any:
        room = [(DAY_LIMIT, self.committed(team=None, api_key=None))]
        if by != "edge":
            room.append((TEAM_LIMIT, self.committed(team__isnull=False)))
        if by == "key":
            room.append((KEY_LIMIT, self.committed(api_key__name="key")))
        least = tokens_in + min(16, tokens_out)
        fits = all(committed + least <= limit for limit, committed in room)
        try:
            hold = self.wait(self.reserved(by, tokens_in, tokens_out))
        except BudgetExceeded:
            assert not fits
            return multiple()
        assert fits
        assert all(committed + hold.tokens <= limit for limit, committed in room)
        return hold

    @rule(target=ended_holds, hold=consumes(open_holds), tokens=st.integers(0, 250))
    def settle(self, hold: Hold, tokens: int) -> Hold:
        self.wait(ledger.settle(hold, used(hold, tokens, cost=tokens * 7)))
        return hold

    @rule(target=ended_holds, hold=consumes(open_holds))
    def give_up(self, hold: Hold) -> Hold:
        self.wait(ledger.settle(hold, release(hold)))
        return hold

    @rule(hold=ended_holds, tokens=st.integers(0, 250))
    def settle_again(self, hold: Hold, tokens: int) -> None:
        self.wait(ledger.settle(hold, used(hold, tokens, cost=tokens * 7)))

    @rule(streamed=st.none() | st.integers(0, 100))
    def process_dies_and_is_swept(self, streamed: int | None) -> None:
        """Its holds end without it; their settlements, should they come, are late."""
        Reservation.objects.for_tenant(self.tenant).update(streamed_output_tokens=streamed)
        long_ago = timedelta(hours=1)
        for process in GatewayProcess.objects.all():
            GatewayProcess.objects.filter(pk=process.pk).update(
                heartbeat_at=process.heartbeat_at - long_ago
            )
        ledger_sync.expire(silence=SILENCE)
        assert not Reservation.objects.for_tenant(self.tenant).exists()

    def committed(self, **scope: Any) -> int:
        windows = self.windows().filter(**scope, period="day")
        sums = windows.aggregate(used=Sum("tokens"), held=Sum("held_tokens"))
        return (sums["used"] or 0) + (sums["held"] or 0)

    def windows(self) -> Any:
        return UsageWindow.objects.for_tenant(self.tenant)

    @invariant()
    def windows_are_the_sums_of_holds_and_entries(self) -> None:
        if not hasattr(self, "tenant"):
            return
        for window in self.windows():
            scope = {} if window.api_key_id is None else {"api_key": window.api_key_id}
            scope |= {"api_key__team": window.team_id} if window.team_id else {}
            holds = Reservation.objects.for_tenant(self.tenant).filter(**scope)
            entries = LedgerEntry.objects.for_tenant(self.tenant).filter(**scope)
            held = holds.aggregate(tokens=Sum("held_tokens"), cost=Sum("held_cost"))
            sums = entries.aggregate(tokens=Sum("total_tokens"), cost=Sum("cost"))
            assert window.held_requests == holds.count()
            assert (window.held_tokens, window.held_cost) == (
                held["tokens"] or 0,
                held["cost"] or 0,
            )
            assert window.requests == entries.filter(kind="usage").count()
            assert (window.tokens, window.cost) == (sums["tokens"] or 0, sums["cost"] or 0)

    def teardown(self) -> None:
        self.wait(_close())
        self.loop.close()


async def _close() -> None:
    await ledger.current().close()
    await database.close()


@pytest.mark.django_db(transaction=True)
def test_ledger_keeps_its_invariants_whatever_happens() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=10,
            stateful_step_count=16,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
