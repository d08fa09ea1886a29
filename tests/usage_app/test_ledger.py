"""Each transition of the ledger, on a real Postgres."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from tenants_app import directory, keys
from tenants_app.database import pool
from tenants_app.models import Tenant
from tenants_app.snapshots import Caller
from tenants_app.tracing import uuid7
from tests.factories import make_budget, make_key, make_model, make_tenant
from tests.loops import run
from usage_app import ledger
from usage_app.admission import Demand
from usage_app.errors import BudgetExceeded, ConfigurationChanged, RateLimited
from usage_app.holds import Hold, Settlement, Wish, release
from usage_app.models import (
    GatewayProcess,
    LedgerEntry,
    Price,
    RefusalCount,
    Reservation,
    UsageWindow,
)
from usage_app.pricing import COST_PLACES, UsageFigures

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme")


async def caller_of(slug: str = "acme") -> Caller:
    caller = await directory.by_slug(slug)
    assert caller is not None
    return caller


def wish(caller: Caller, *, input: int = 10, output: int = 90, **fields: Any) -> Wish:  # noqa: A002
    return Wish(
        request_id=fields.pop("request_id", None) or uuid7(),
        caller=caller,
        trace_id="t",
        model="demo-echo",
        model_reason="tenant",
        upstream="demo",
        price_id=None,
        demand=Demand(input, output, min(16, output), **fields),
        estimated_input_tokens=input,
        stream=False,
    )


def used(hold: Hold, tokens: int, **fields: Any) -> Settlement:
    values: dict[str, Any] = {
        "model": "demo-echo",
        "model_reason": "tenant",
        "upstream": "demo",
        "usage": UsageFigures(input=tokens),
        "usage_source": "provider",
        "outcome": "ok",
        "price_id": None,
        "cost": None,
        "latency_ms": 5,
    }
    return Settlement(**values | fields)


def windows() -> dict[str, tuple[int, ...]]:
    return {
        row.period: (row.requests, row.tokens, row.held_requests, row.held_tokens)
        for row in UsageWindow.objects.filter(api_key=None)
    }


def test_reserve_holds_day_and_month_without_any_budget(acme: Tenant) -> None:
    async def main() -> Hold:
        return await ledger.reserve(wish(await caller_of()))

    hold = run(main())

    assert windows() == {"day": (0, 0, 1, 100), "month": (0, 0, 1, 100)}
    assert Reservation.objects.get().id == hold.request_id
    assert hold.output_tokens == 90
    assert hold.tightest is None


def test_settle_moves_the_hold_into_one_entry(acme: Tenant) -> None:
    async def main() -> Hold:
        hold = await ledger.reserve(wish(await caller_of()))
        await ledger.settle(hold, used(hold, 42, cost=1234))
        return hold

    hold = run(main())

    entry = LedgerEntry.objects.get()
    assert (entry.id, entry.created_at, entry.kind) == (hold.request_id, hold.created_at, "usage")
    assert (entry.total_tokens, entry.held_tokens, entry.overrun_tokens) == (42, 100, 0)
    assert entry.cost == Decimal("0.0000001234")
    assert windows() == {"day": (1, 42, 0, 0), "month": (1, 42, 0, 0)}
    assert not Reservation.objects.exists()


def test_settle_twice_writes_one_entry(acme: Tenant) -> None:
    async def main() -> None:
        hold = await ledger.reserve(wish(await caller_of()))
        await ledger.settle(hold, used(hold, 42))
        await ledger.settle(hold, used(hold, 43))

    run(main())

    assert LedgerEntry.objects.get().total_tokens == 42
    assert windows()["day"] == (1, 42, 0, 0)


def test_usage_beyond_the_hold_is_charged_and_told(acme: Tenant) -> None:
    async def main() -> None:
        hold = await ledger.reserve(wish(await caller_of()))
        await ledger.settle(hold, used(hold, 130))

    run(main())

    assert LedgerEntry.objects.get().overrun_tokens == 30
    assert windows()["day"] == (1, 130, 0, 0)


def test_release_counts_the_request_and_no_tokens(acme: Tenant) -> None:
    async def main() -> None:
        hold = await ledger.reserve(wish(await caller_of()))
        await ledger.settle(hold, release(hold))

    run(main())

    entry = LedgerEntry.objects.get()
    assert (entry.total_tokens, entry.cost, entry.outcome) == (0, Decimal(0), "aborted")
    assert windows()["day"] == (1, 0, 0, 0)


def test_reserve_clamps_the_output_to_the_tightest_window(acme: Tenant) -> None:
    make_budget(acme, "tokens", "month", 500)
    make_budget(acme, "tokens", "day", 60)

    async def main() -> Hold:
        return await ledger.reserve(wish(await caller_of()))

    hold = run(main())

    assert hold.output_tokens == 50
    assert hold.tightest is not None
    assert (hold.tightest.period, hold.tightest.remaining) == ("day", 0)


def refusal(*wishes: dict[str, Any], settle_first: bool = True) -> Any:
    """The error that the last of these wishes gets; those before it are settled in full."""

    async def main() -> Any:
        caller = await caller_of()
        for fields in wishes[:-1]:
            hold = await ledger.reserve(wish(caller, **fields))
            if settle_first:
                await ledger.settle(hold, used(hold, hold.tokens))
        with pytest.raises((BudgetExceeded, RateLimited)) as caught:
            await ledger.reserve(wish(caller, **wishes[-1]))
        return caught.value

    return run(main())


def test_reserve_refuses_an_exhausted_day(acme: Tenant) -> None:
    make_budget(acme, "tokens", "day", 100)

    error = refusal({}, {})

    assert (error.status_code, error.code) == (429, "budget_exceeded")
    resets_at = error.details.pop("resetsAt")
    assert error.details == {
        "reason": "exhausted",
        "scope": "tenant",
        "metric": "tokens",
        "period": "day",
        "limit": 100,
        "used": 100,
        "held": 0,
    }
    assert error.headers["x-should-retry"] == "false"
    tomorrow = (timezone.now() + timedelta(days=1)).date()
    assert resets_at == f"{tomorrow}T00:00:00Z"
    assert 0 < int(error.headers["Retry-After"]) <= 86_400


def test_reserve_refuses_what_others_hold_and_says_so(acme: Tenant) -> None:
    make_budget(acme, "tokens", "day", 110)

    error = refusal({}, {}, settle_first=False)

    assert (error.details["reason"], error.details["held"]) == ("in_flight", 100)
    assert error.headers == {"x-should-retry": "true", "Retry-After": "1"}


def test_reserve_refuses_what_no_empty_window_could_hold(acme: Tenant) -> None:
    make_budget(acme, "tokens", "day", 20)

    error = refusal({})

    assert error.details["reason"] == "too_large"
    assert error.headers == {"x-should-retry": "false"}


def test_reserve_refuses_by_requests_per_minute_with_the_exact_wait(acme: Tenant) -> None:
    make_budget(acme, "requests", "minute", 6, burst=2)

    error = refusal({}, {}, {})

    assert (error.code, error.details["period"]) == ("rate_limited", "minute")
    assert error.headers == {"x-should-retry": "true", "Retry-After": "10"}


def test_reserve_refuses_by_tokens_per_minute_and_settling_returns_the_rest(acme: Tenant) -> None:
    make_budget(acme, "tokens", "minute", 150)

    async def main() -> None:
        caller = await caller_of()
        first = await ledger.reserve(wish(caller))
        with pytest.raises(RateLimited):
            await ledger.reserve(wish(caller))
        await ledger.settle(first, used(first, 1))
        await ledger.reserve(wish(caller))

    run(main())


def test_reserve_refuses_more_at_once_than_allowed(acme: Tenant) -> None:
    make_budget(acme, "requests", "concurrent", 1)

    async def main() -> None:
        caller = await caller_of()
        first = await ledger.reserve(wish(caller))
        with pytest.raises(RateLimited) as caught:
            await ledger.reserve(wish(caller))
        assert caught.value.details["period"] == "concurrent"
        await ledger.settle(first, used(first, 1))
        await ledger.reserve(wish(caller))

    run(main())

    assert windows()["concurrent"] == (0, 0, 1, 100)


def test_reserve_holds_money_at_ten_places(acme: Tenant) -> None:
    make_budget(acme, "cost", "month", Decimal("0.0000001000"))

    async def main() -> Hold:
        return await ledger.reserve(wish(await caller_of(), input_rate=10, output_rate=30))

    hold = run(main())

    assert (hold.output_tokens, hold.cost) == (30, 1000)
    assert UsageWindow.objects.get(period="month").held_cost == Decimal("0.0000001000")


def test_reserve_refuses_a_snapshot_that_is_out_of_date(acme: Tenant) -> None:
    async def stale() -> Caller:
        return await caller_of()

    caller = run(stale())
    make_budget(acme, "tokens", "day", 100)

    async def main() -> None:
        with pytest.raises(ConfigurationChanged):
            await ledger.reserve(wish(caller))

    run(main())


def test_cancelled_caller_leaves_no_hold(acme: Tenant) -> None:
    async def main() -> None:
        caller = await caller_of()
        tasks = [asyncio.create_task(ledger.reserve(wish(caller))) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks[:3]:
            task.cancel()
        await asyncio.wait(tasks)

    run(main())

    assert windows()["day"][2:] == (2, 200)
    assert Reservation.objects.count() == 2


def test_heartbeat_writes_down_how_far_streams_got(acme: Tenant) -> None:
    async def main() -> Any:
        streaming = await ledger.reserve(wish(await caller_of()))
        await ledger.reserve(wish(await caller_of()))
        streaming.streamed_output_tokens, streaming.model = 7, "other"
        streaming.model_reason = "fallback"
        async with pool().connection() as connection:
            first = await connection.execute("SELECT heartbeat_at FROM usage_app_gatewayprocess")
            await ledger.current().close()
            return await first.fetchone()

    (began,) = run(main())

    rows = Reservation.objects.order_by("streamed_output_tokens")
    assert [(row.streamed_output_tokens, row.model, row.model_reason) for row in rows] == [
        (7, "other", "fallback"),
        (None, "demo-echo", "tenant"),
    ]
    assert GatewayProcess.objects.get().heartbeat_at > began


def test_bad_row_fails_its_own_caller_only(acme: Tenant) -> None:
    async def main() -> list[Any]:
        caller = await caller_of()
        twin = uuid7()
        wishes = [wish(caller, request_id=twin), wish(caller), wish(caller, request_id=twin)]
        return await asyncio.gather(
            *(ledger.reserve(each) for each in wishes), return_exceptions=True
        )

    results = run(main())

    assert [isinstance(result, Hold) for result in results] == [True, True, False]
    assert Reservation.objects.count() == 2


@pytest.mark.parametrize(("metric", "limit"), [("tokens", 5_000), ("requests", 50), ("cost", 5)])
def test_parallel_reserves_never_overspend(acme: Tenant, metric: str, limit: int) -> None:
    make_budget(acme, metric, "day", limit)
    rate = 10**COST_PLACES // 1_000  # 100 tokens are a tenth of the currency

    async def one(caller: Caller) -> bool:
        try:
            hold = await ledger.reserve(wish(caller, input_rate=rate, output_rate=rate))
        except BudgetExceeded:
            return False
        await ledger.settle(hold, used(hold, hold.tokens, cost=hold.cost))
        return True

    async def main() -> int:
        caller = await caller_of()
        return sum(await asyncio.gather(*(one(caller) for _ in range(200))))

    assert run(main()) == 50
    assert windows()["day"] == (50, 5_000, 0, 0)
    assert LedgerEntry.objects.count() == 50


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usage_app_ledgerentry SET total_tokens = 0",
        "DELETE FROM usage_app_ledgerentry",
        "TRUNCATE usage_app_ledgerentry",
    ],
)
def test_entries_cannot_be_changed(acme: Tenant, statement: str) -> None:
    async def main() -> None:
        hold = await ledger.reserve(wish(await caller_of()))
        await ledger.settle(hold, used(hold, 42))

    run(main())
    partition = f"usage_app_ledgerentry_{timezone.now():%Y_%m}"

    for table in ("usage_app_ledgerentry", partition):
        with connection.cursor() as cursor:
            cursor.execute("SET tollgate.allow_truncate = 'no'")
            with pytest.raises(IntegrityError, match="append-only"):
                cursor.execute(statement.replace("usage_app_ledgerentry", table))
            cursor.execute("SET tollgate.allow_truncate = 'yes'")
    assert LedgerEntry.objects.get().total_tokens == 42


def test_new_price_makes_every_snapshot_out_of_date(acme: Tenant) -> None:
    model = make_model()

    async def load() -> Caller:
        return await caller_of()

    caller = run(load())
    Price.objects.create(model=model, valid_from=timezone.now(), input="0.1", output="0.4")

    async def main() -> None:
        with pytest.raises(ConfigurationChanged):
            await ledger.reserve(wish(caller))

    run(main())


def test_old_and_new_snapshots_of_one_tenant_share_a_first_batch(acme: Tenant) -> None:
    async def load() -> Caller:
        directory.forget(acme.pk)
        return await caller_of()

    async def main() -> list[Hold | BaseException]:
        reserving = [ledger.reserve(wish(caller)) for caller in (new, old)]
        return await asyncio.gather(*reserving, return_exceptions=True)

    old = run(load())
    make_budget(acme, "requests", "minute", 5)
    new = run(load())
    held, refused = run(main())

    assert isinstance(held, Hold)
    assert isinstance(refused, ConfigurationChanged)


def test_caller_that_is_gone_is_out_of_date_and_fails_nobody_else(acme: Tenant) -> None:
    gone = make_tenant("gone")

    async def find() -> list[Caller]:
        return [await caller_of("gone"), await caller_of()]

    async def main(callers: list[Caller]) -> list[Hold | BaseException]:
        reserving = [ledger.reserve(wish(caller)) for caller in callers]
        return await asyncio.gather(*reserving, return_exceptions=True)

    callers = run(find())
    gone.delete()
    refused, held = run(main(callers))

    assert isinstance(refused, ConfigurationChanged)
    assert isinstance(held, Hold)


def test_refusal_of_a_key_that_is_gone_stops_no_heart_and_no_reserve(acme: Tenant) -> None:
    gone, kept = make_key(acme), make_key(acme)

    async def find() -> list[Caller | None]:
        return [await directory.by_digest(keys.digest(key.secret)) for key in (gone, kept)]

    async def main(callers: list[Caller | None]) -> Hold:
        for caller in callers:
            assert caller is not None
            ledger.count_refusal(caller, "model_not_allowed")
        return await ledger.reserve(wish(await caller_of()))

    callers = run(find())
    gone.key.delete()
    hold = run(main(callers))

    assert Reservation.objects.get().id == hold.request_id
    counted = RefusalCount.objects.values_list("api_key", "code", "refusals")
    assert list(counted) == [(kept.key.pk, "model_not_allowed", 1)]
