"""A raise in force is room, by the database's clock; when it ends nothing has to happen."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, TypeVar

import pytest
from django.db import connection

from tenants_app import directory, raises
from tenants_app.models import Budget, Tenant
from tenants_app.snapshots import Caller, Limit, Raise
from tests.factories import make_budget, make_key, make_raise, make_team, make_tenant
from tests.live import eventually
from tests.loops import run
from tests.usage_app.test_ledger import caller_of, used, wish
from tests.usage_app.test_team_budgets import caller_of as caller_by
from tests.usage_app.test_views import ask
from usage_app import ledger, ledger_batches, own_usage, selectors
from usage_app.admission import Window
from usage_app.errors import BudgetExceeded, ConfigurationChanged
from usage_app.holds import Hold
from usage_app.models import UsageWindow
from usage_app.periods import day_period
from usage_app.scopes import Scope
from usage_app.views import BudgetsView

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")
SOON = timedelta(seconds=1)


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme")


def until(moment: datetime) -> None:
    """Wait, by the database's clock."""
    while (left := (moment - selectors.clock()).total_seconds()) > 0:
        time.sleep(left)


async def in_thread(work: Callable[..., T], *args: Any, **named: Any) -> T:
    """What needs Django's connection, from a coroutine."""

    def done() -> T:
        try:
            return work(*args, **named)
        finally:
            connection.close()

    return await asyncio.to_thread(done)


async def newest() -> Caller:
    """acme, without a key, as it is configured now."""
    return await directory.ensure_current(await caller_of())


async def admitted(count: int = 1, **size: int) -> list[Hold]:
    """The holds that a caller of acme gets who asks so often; each is 100 tokens, unless told."""
    found = []
    for _ in range(count):
        try:
            found.append(await ledger.reserve(wish(await newest(), **size)))
        except BudgetExceeded:
            break
    return found


def refusal(**size: int) -> dict[str, Any]:
    """What the next request is told."""

    async def main() -> dict[str, Any]:
        with pytest.raises(BudgetExceeded) as caught:
            await ledger.reserve(wish(await newest(), **size))
        return caught.value.details

    return run(main())


def test_raise_counts_at_the_next_request_and_so_does_its_cancellation(acme: Tenant) -> None:
    budget = make_budget(acme, "tokens", "day", 100)

    async def main() -> None:
        assert len(await admitted(2)) == 1
        given = await in_thread(make_raise, budget, extra=200)
        holds = await admitted(3)
        assert len(holds) == 2
        assert holds[-1].tightest is not None
        assert (holds[-1].tightest.limit, holds[-1].tightest.remaining) == (300, 0)
        await in_thread(raises.cancel, given, by="ann")
        assert await admitted() == []
        # What was admitted is charged as ever.
        for hold in holds:
            await ledger.settle(hold, used(hold, 100))

    run(main())
    assert UsageWindow.objects.filter(period="day").get().tokens == 200
    assert refusal()["limit"] == 100


def test_raises_begin_and_end_by_themselves_and_add_up(acme: Tenant) -> None:
    budget = make_budget(acme, "requests", "month", 1)
    now = selectors.clock()
    make_raise(budget, extra=1, ends_at=now + 2 * SOON)
    make_raise(budget, extra=1, starts_at=now + SOON, ends_at=now + 2 * SOON)

    async def main() -> list[int]:
        counts = [len(await admitted(9))]
        for step in (1, 2):
            await in_thread(until, now + step * SOON)
            counts.append(len(await admitted(9)))
        return counts

    assert run(main()) == [2, 1, 0]
    assert refusal()["limit"] == 1


@pytest.mark.parametrize(("hour", "allowed"), [(9, 100), (10, 150), (11, 100)])
def test_clock_of_the_books_is_asked_and_no_other(hour: int, allowed: int) -> None:
    ten = datetime(2020, 2, 29, 10, tzinfo=UTC)
    limit = Limit("tokens", "day", 100, raises=(Raise(ten, ten + timedelta(hours=1), 50),))
    now = ten.replace(hour=hour)
    window = Window(7, "day", ten + timedelta(hours=14), {"tokens": 0}, {"tokens": 0})
    day = day_period(ten.date(), "UTC")
    scope = Scope("tenant", 1, None, None, "UTC", day, day, {"day": 7})
    books = ledger_batches.Books(now, {}, {7: window}, {})
    assert ledger_batches._check(limit, scope, books).limit == allowed


@pytest.mark.parametrize("scope", ["tenant", "team", "key"])
def test_budgets_of_every_scope_are_raised(acme: Tenant, scope: str) -> None:
    team = make_team(acme)
    key = make_key(acme, team=team)
    places: dict[str, dict[str, Any]] = {"tenant": {}, "team": {"team": team}}
    place = places.get(scope, {"api_key": key.key})
    make_raise(make_budget(acme, "tokens", "day", 100, **place), extra=50)

    async def main() -> int:
        return (await ledger.reserve(wish(await caller_by(key), output=500))).tokens

    assert run(main()) == 150


def test_cost_is_raised_in_money(acme: Tenant) -> None:
    budget = make_budget(acme, "cost", "day", "0.5")
    make_raise(budget, extra="0.25")

    async def main() -> Hold:
        caller = await newest()
        return await ledger.reserve(wish(caller, output_rate=10**8, input_rate=10**8))

    assert run(main()).cost == 75 * 10**8
    _, body = ask(BudgetsView, x_api_key=make_key(acme).secret)
    (told,) = body["data"]["budgets"]
    assert (told["limit"], told["raises"][0]["extra"]) == ("0.75", "0.25")


def test_budgets_tell_the_limit_with_what_raised_it_and_until_when(acme: Tenant) -> None:
    budget = make_budget(acme, "tokens", "day", 1000)
    make_budget(acme, "requests", "minute", 60)
    now = datetime.now(UTC).replace(microsecond=0)
    for hours in (3, 2):
        make_raise(budget, extra=hours, ends_at=now + timedelta(hours=hours))
    make_raise(budget, starts_at=now + timedelta(hours=1), ends_at=now + timedelta(hours=2))
    make_raise(budget, starts_at=now - timedelta(hours=2), ends_at=now - timedelta(hours=1))
    raises.cancel(make_raise(budget), by="ann")
    _, body = ask(BudgetsView, x_api_key=make_key(acme).secret)
    minute, day = body["data"]["budgets"]
    assert "raises" not in minute
    assert (day["limit"], day["remaining"]) == (1005, 1005)
    assert day["raises"] == [
        {"extra": hours, "until": f"{now + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"}
        for hours in (2, 3)
    ]


def within(hold: Hold) -> bool:
    """Whether a fallback of an open request would still be paid for, as things are now."""

    async def main() -> bool:
        return await own_usage.is_within_budgets(await newest(), hold.created_at)

    return run(main())


def test_open_request_outlives_the_raise_it_was_admitted_under(acme: Tenant) -> None:
    budget = make_budget(acme, "tokens", "day", 100)
    now = selectors.clock()
    make_raise(budget, extra=100, ends_at=now + SOON)
    # It begins later, and lets others in: that takes nothing from who is there.
    make_raise(budget, extra=250, starts_at=now + SOON, ends_at=now + 2 * SOON)

    async def main() -> Hold:
        first, second = await admitted(2)
        await ledger.settle(second, used(second, 0))
        return first

    hold = run(main())
    assert within(hold)
    until(now + SOON)
    run(admitted(output=190))
    assert within(hold)
    until(now + 2 * SOON)
    assert refusal()["limit"] == 100
    assert within(hold)
    # Somebody takes it away, though: that is as if the limit was set lower.
    Budget.objects.update(limit=40)
    assert not within(hold)


def test_open_request_does_not_outlive_a_raise_that_is_cancelled(acme: Tenant) -> None:
    given = make_raise(make_budget(acme, "tokens", "day", 100), extra=100)
    _, hold = run(admitted(2))
    assert within(hold)
    raises.cancel(given, by="ann")
    assert not within(hold)


def test_what_was_used_under_a_raise_stays_used(acme: Tenant) -> None:
    """So after its end the window is over its limit, and the limit's own change adds to nothing."""
    budget = make_budget(acme, "tokens", "month", 100)
    given = make_raise(budget, extra=100)

    async def main() -> None:
        for hold in await admitted(2):
            await ledger.settle(hold, used(hold, 100))

    run(main())
    raises.cancel(given, by="ann")
    told = refusal()
    assert (told["limit"], told["used"], told["reason"]) == (100, 200, "exhausted")
    Budget.objects.update(limit=300)
    make_raise(Budget.objects.get(), extra=100)
    assert len(run(admitted(9))) == 2


@pytest.mark.parametrize("by", ["the clock", "somebody"])
def test_many_at_the_end_of_a_raise_get_no_more_than_it_gave(acme: Tenant, by: str) -> None:
    """Threads with loops and pools of their own, that ask before, at and after its end."""
    budget = make_budget(acme, "tokens", "day", 100)
    over = Event()

    async def asks() -> list[Hold]:
        found: list[Hold] = []
        while not over.is_set():
            with suppress(ConfigurationChanged):
                found += await admitted(input=10, output=10)
            await asyncio.sleep(0.01)
        return found

    with ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(lambda: run(asks())) for _ in range(3)]
        eventually(lambda: UsageWindow.objects.filter(held_tokens=100).exists())
        ends_at = selectors.clock() + timedelta(seconds=1)
        lasts = timedelta(0) if by == "the clock" else timedelta(hours=1)
        # More than they can take until then, so that only its end stops them.
        given = make_raise(budget, extra=10**6, ends_at=ends_at + lasts)
        until(ends_at)
        if by == "somebody":
            raises.cancel(given, by="ann")
            # Who read the versions just before may write down an instant just after.
            ends_at = selectors.clock() + timedelta(milliseconds=50)
        until(ends_at + timedelta(milliseconds=200))
        over.set()
        holds = [hold for found in asking for hold in found.result()]
    assert sum(hold.tokens for hold in holds) > 100
    assert max(hold.created_at for hold in holds) < ends_at
