"""The connection is lost at the worst moments: before, during and after the commits of a batch."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection as django_connection
from django.utils import timezone

from tenants_app import pipeline
from tenants_app.database import pool
from tenants_app.errors import ServiceUnavailable
from tenants_app.models import Tenant
from tests.factories import make_budget, make_model, make_tenant
from tests.loops import run
from tests.usage_app.test_ledger import caller_of, used, windows, wish
from usage_app import ledger, ledger_sync
from usage_app import ledger_sql as sql
from usage_app.models import LedgerEntry, Price, Reservation, UsageWindow

pytestmark = pytest.mark.django_db(transaction=True)

Commands = tuple[pipeline.Statement, Any]


@pytest.fixture
def acme() -> Tenant:
    tenant = make_tenant("acme")
    make_budget(tenant, "tokens", "day", 10_000)
    return tenant


def breaking(
    monkeypatch: pytest.MonkeyPatch, statement: str, *, done: bool, times: int = 1
) -> None:
    """Lose the connection in the exchange with this statement, after the server did it or before.

    Nobody on our side can tell the two apart.
    """
    real: Callable[..., Awaitable[Any]] = pipeline.run
    left = times

    async def run_and_break(connection: Any, *commands: Commands) -> Any:
        nonlocal left
        if not left or statement.encode() not in [command.name for command, _ in commands]:
            return await real(connection, *commands)
        left -= 1
        if done:
            await real(connection, *commands)
        connection.pgconn.finish()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(pipeline, "run", run_and_break)


@pytest.mark.parametrize("done", [True, False])
def test_commit_of_a_hold_that_nobody_knows_of_is_refused_and_released(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    breaking(monkeypatch, "reserve", done=done)

    async def main() -> list[Any]:
        caller = await caller_of()
        wishes = [ledger.reserve(wish(caller)) for _ in range(3)]
        return await asyncio.gather(*wishes, return_exceptions=True)

    results = run(main())

    assert [type(result) for result in results] == [ServiceUnavailable] * 3
    assert not Reservation.objects.exists()
    entries = LedgerEntry.objects.values_list("outcome", "error_code", "total_tokens")
    assert list(entries) == [("aborted", "service_unavailable", 0)] * (3 if done else 0)
    assert windows()["day"] == (3 if done else 0, 0, 0, 0)


def test_connection_lost_before_the_commit_is_tried_once_more(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch, "lock_windows", done=False)

    async def main() -> None:
        await ledger.reserve(wish(await caller_of()))

    run(main())
    assert windows()["day"] == (0, 0, 1, 100)


def test_database_that_is_lost_twice_is_unavailable(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch, "lock_windows", done=True, times=2)

    async def main() -> None:
        with pytest.raises(ServiceUnavailable):
            await ledger.reserve(wish(await caller_of()))

    run(main())
    assert windows()["day"] == (0, 0, 0, 0)


@pytest.mark.parametrize("done", [True, False])
def test_settlement_whose_commit_nobody_knows_of_is_written_once(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    breaking(monkeypatch, "settle", done=done, times=2)

    async def main() -> None:
        caller = await caller_of()
        holds = [await ledger.reserve(wish(caller)) for _ in range(3)]
        await asyncio.gather(*(ledger.settle(hold, used(hold, 42)) for hold in holds))

    run(main())
    assert [entry.total_tokens for entry in LedgerEntry.objects.all()] == [42] * 3
    assert windows()["day"] == (3, 126, 0, 0)


def test_settlement_that_the_books_refuse_is_left_to_the_sweep(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database goes away while it is handed over; the others of its batch are settled."""
    real = psycopg.AsyncConnection.execute
    lost: list[str] = []

    async def lose_once(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        if query == sql.ABANDON and not lost:
            lost.append(query)
            connection.pgconn.finish()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return await real(connection, query, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", lose_once)

    async def main() -> list[Any]:
        caller = await caller_of()
        holds = [await ledger.reserve(wish(caller)) for _ in range(3)]
        fields: list[dict[str, Any]] = [{}, {"latency_ms": 2**40}, {}]
        settling = [
            ledger.settle(hold, used(hold, 42, **more))
            for hold, more in zip(holds, fields, strict=True)
        ]
        return await asyncio.gather(*settling, return_exceptions=True)

    results = run(main())

    assert lost
    assert [isinstance(result, BaseException) for result in results] == [False, True, False]
    assert Reservation.objects.get().process_id is None
    assert ledger_sync.expire(silence=timedelta()) == 1
    assert windows()["day"] == (3, 42 + 42 + 100, 0, 0)
    swept = LedgerEntry.objects.get(outcome="expired")
    assert swept.reason == "the database refused its settlement; charged in full"


@pytest.mark.parametrize("tokens", [250, 30])
def test_settlement_after_the_sweep_moves_the_windows_by_the_difference(
    acme: Tenant, tokens: int
) -> None:
    make_budget(acme, "requests", "concurrent", 5)
    price = Price.objects.create(model=make_model(), valid_from=timezone.now(), input=1, output=2)

    async def main() -> None:
        hold = await ledger.reserve(replace(wish(await caller_of()), price_id=price.id))
        async with pool().connection() as connection:
            await connection.execute("UPDATE usage_app_reservation SET process_id = NULL")
        assert await asyncio.to_thread(swept) == 1
        for _ in range(2):
            await ledger.settle(hold, used(hold, tokens, cost=tokens))

    run(main())

    expired, late = LedgerEntry.objects.order_by("settled_at")
    assert (expired.kind, expired.outcome, expired.total_tokens) == ("usage", "expired", 100)
    assert (late.kind, late.corrects, late.created_at) == (
        "adjustment",
        expired.id,
        expired.created_at,
    )
    assert (late.total_tokens, late.held_tokens) == (tokens - 100, 0)
    assert (expired.cost, late.cost) == (Decimal("0.00019"), Decimal(tokens - 1_900_000) / 10**10)
    assert {row.cost for row in UsageWindow.objects.exclude(period="concurrent")} == {
        Decimal(tokens) / 10**10
    }
    assert windows() == {
        "day": (1, tokens, 0, 0),
        "month": (1, tokens, 0, 0),
        "concurrent": (0, 0, 0, 0),
    }


def swept() -> int:
    try:
        return ledger_sync.expire(silence=timedelta())
    finally:
        django_connection.close()


def test_close_ends_a_heart_that_a_cancellation_did_not_reach(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = []

    async def beat() -> None:
        beats.append(1)
        if len(beats) == 1:
            # As asyncio.wait_for of Python 3.11 when what it waits for is done by then.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    async def main() -> None:
        book = ledger.current()
        monkeypatch.setattr(book, "_beat", beat)
        book.open()
        await asyncio.sleep(0)
        await asyncio.wait_for(book.close(), 30)

    run(main())
    assert len(beats) > 1
