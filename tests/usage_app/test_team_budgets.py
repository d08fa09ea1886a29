"""What the keys of a team spend counts together, and no more than the team's budgets allow."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenants_app import directory, keys
from tenants_app.keys import IssuedKey
from tenants_app.models import Team, Tenant
from tenants_app.snapshots import Caller
from tests.factories import make_budget, make_key, make_team, make_tenant
from tests.loops import run
from tests.usage_app.entries import charge
from tests.usage_app.test_ledger import used, wish
from tests.usage_app.test_views import ask
from usage_app import ledger, ledger_sync, reconciliation
from usage_app.errors import BudgetExceeded, RateLimited
from usage_app.holds import Hold
from usage_app.models import RateBucket, Reservation, UsageWindow
from usage_app.views import BudgetsView

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def team(acme: Tenant) -> Team:
    return make_team(acme)


async def caller_of(key: IssuedKey) -> Caller:
    caller = await directory.by_digest(keys.digest(key.secret))
    assert caller is not None
    return caller


def counted(team: Team, period: str = "day") -> tuple[int, ...]:
    row = UsageWindow.objects.get(team=team, period=period)
    return row.requests, row.tokens, row.held_requests, row.held_tokens


def test_windows_of_a_team_count_what_its_keys_use_with_or_without_budgets(
    acme: Tenant, team: Team
) -> None:
    ours = [make_key(acme, name, team=team) for name in ("a", "b")]
    lone = make_key(acme, "lone")

    async def main() -> None:
        for key in (*ours, lone):
            hold = await ledger.reserve(wish(await caller_of(key)))
            if key is not ours[1]:
                await ledger.settle(hold, used(hold, 30))

    run(main())
    assert counted(team) == counted(team, "month") == (1, 30, 1, 100)
    assert UsageWindow.objects.filter(api_key=lone.key, team=None).count() == 2
    # A day and a month each of the tenant, the team and three keys.
    assert UsageWindow.objects.count() == 10


def test_two_keys_of_a_team_never_overspend_its_budget_together(acme: Tenant, team: Team) -> None:
    ours = [make_key(acme, name, team=team) for name in ("a", "b")]
    lone = make_key(acme, "lone")
    make_budget(acme, "tokens", "day", 5_000, team=team)

    async def one(caller: Caller) -> bool:
        try:
            hold = await ledger.reserve(wish(caller))
        except BudgetExceeded:
            return False
        await ledger.settle(hold, used(hold, hold.tokens))
        return True

    async def main() -> list[int]:
        callers = [await caller_of(key) for key in (*ours, lone)]
        endings = await asyncio.gather(*(one(caller) for _ in range(100) for caller in callers))
        return [sum(endings[place::3]) for place in range(3)]

    first, second, others = run(main())
    assert (first + second, others) == (50, 100)
    assert first
    assert second
    assert counted(team) == (50, 5_000, 0, 0)


def refusal(key: IssuedKey) -> Any:
    """The error that its second request gets while the first is under way."""

    async def main() -> Any:
        caller = await caller_of(key)
        await ledger.reserve(wish(caller))
        with pytest.raises((BudgetExceeded, RateLimited)) as caught:
            await ledger.reserve(wish(caller))
        return caught.value

    return run(main())


@pytest.mark.parametrize(
    ("metric", "period", "limit"),
    [("tokens", "day", 110), ("requests", "minute", 1), ("requests", "concurrent", 1)],
)
def test_refusal_names_the_team(
    acme: Tenant, team: Team, metric: str, period: str, limit: int
) -> None:
    make_budget(acme, metric, period, limit, team=team)
    error = refusal(make_key(acme, team=team))
    assert (error.details["scope"], error.details["period"]) == ("team", period)
    assert error.message.startswith(f"The team's budget of {limit} {metric}")
    if period == "minute":
        assert RateBucket.objects.get().team == team


def test_bucket_of_a_team_gets_back_what_was_not_used(acme: Tenant, team: Team) -> None:
    make_budget(acme, "tokens", "minute", 150, team=team)
    first, second = (make_key(acme, name, team=team) for name in ("a", "b"))

    async def main() -> None:
        hold = await ledger.reserve(wish(await caller_of(first)))
        other = await caller_of(second)
        with pytest.raises(RateLimited):
            await ledger.reserve(wish(other))
        await ledger.settle(hold, used(hold, 1))
        await ledger.reserve(wish(other))

    run(main())


def test_budgets_tell_those_of_the_team_between_tenant_and_key(acme: Tenant, team: Team) -> None:
    key, mate = make_key(acme, team=team), make_key(acme, "mate", team=team)
    make_budget(acme, "tokens", "day", 1000, api_key=key.key)
    make_budget(acme, "tokens", "day", 2000, team=team)
    make_budget(acme, "tokens", "minute", 3000, team=team)
    make_budget(acme, "tokens", "day", 4000)
    make_budget(acme, "tokens", "day", 1, team=make_team(acme, "support"))

    async def reserve() -> Hold:
        return await ledger.reserve(wish(await caller_of(mate)))

    run(reserve())
    _, body = ask(BudgetsView, x_api_key=key.secret)
    told = [(b["scope"], b["period"], b["limit"], b["held"]) for b in body["data"]["budgets"]]
    assert told == [
        ("tenant", "day", 4000, 100),
        ("team", "minute", 3000, 0),
        ("team", "day", 2000, 100),
        ("key", "day", 1000, 0),
    ]


def test_windows_ahead_are_made_for_teams_too(acme: Tenant, team: Team) -> None:
    run(_reserve(make_key(acme, team=team)))
    tomorrow = UsageWindow.objects.filter(team=team, period="day").get().ends_at
    ledger_sync.make_windows_ahead(tomorrow - timedelta(hours=1))
    assert UsageWindow.objects.filter(team=team, starts_at=tomorrow, period="day").exists()


async def _reserve(key: IssuedKey) -> None:
    await ledger.reserve(wish(await caller_of(key)))


def test_swept_holds_of_a_team_are_charged_to_it(acme: Tenant, team: Team) -> None:
    run(_reserve(make_key(acme, team=team)))
    Reservation.objects.update(process_id=None)
    assert ledger_sync.expire(silence=timedelta(0)) == 1
    assert counted(team) == (1, 100, 0, 0)


def test_reconciliation_covers_the_windows_of_teams(acme: Tenant, team: Team) -> None:
    ours = [make_key(acme, name, team=team).key for name in ("a", "b")]
    for key in (*ours, make_key(acme, "lone").key, None):
        charge(acme, created_at=datetime.now(UTC), api_key=key)
    assert reconciliation.run(author="test").drifts == 0
    UsageWindow.objects.filter(team=team, period="day").update(tokens=31)
    found = reconciliation.run(author="test").found.filter(book="day windows").get()
    assert (found.team, found.api_key, found.figure) == (team, None, "tokens")
    assert (found.expected, found.found) == (30, 31)
