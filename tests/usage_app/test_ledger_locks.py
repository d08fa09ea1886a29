"""The order of locks: windows by id, then buckets, then holds; so that nobody waits in a circle.

Each writer is made to wait for the first row of that order, and may then hold none that follows.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest
from django.db import connection as django_connection

from tenants_app.database import pool
from tests.factories import make_budget, make_tenant
from tests.loops import run
from tests.usage_app.test_ledger import caller_of, used, wish
from usage_app import ledger, ledger_sync
from usage_app.holds import Hold

pytestmark = pytest.mark.django_db(transaction=True)

DAY = "SELECT 1 FROM usage_app_usagewindow WHERE period = 'day' FOR UPDATE"
MONTH = "SELECT 1 FROM usage_app_usagewindow WHERE period = 'month' FOR UPDATE"
BUCKET = "SELECT 1 FROM usage_app_ratebucket FOR UPDATE"
HOLD = "SELECT 1 FROM usage_app_reservation FOR UPDATE"
WAITING = """SELECT 1 FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()"""


async def another_reserve(_hold: Hold) -> None:
    await ledger.reserve(wish(await caller_of()))


async def settle(hold: Hold) -> None:
    await ledger.settle(hold, used(hold, 42))


async def sweep(_hold: Hold) -> None:
    def expire() -> int:
        try:
            return ledger_sync.expire(silence=timedelta(0))
        finally:
            django_connection.close()

    async with pool().connection() as connection:
        await connection.execute("UPDATE usage_app_reservation SET process_id = NULL")
    assert await asyncio.to_thread(expire) == 1


@asynccontextmanager
async def locked(row: str) -> AsyncIterator[None]:
    async with pool().connection() as connection, connection.transaction():
        await connection.execute(row)
        yield


async def is_free(row: str) -> bool:
    async with pool().connection() as connection:
        try:
            await connection.execute(f"{row} NOWAIT")
        except psycopg.errors.LockNotAvailable:
            return False
    return True


async def somebody_waits() -> None:
    async with asyncio.timeout(10), pool().connection() as connection:
        while not await (await connection.execute(WAITING)).fetchone():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("work", [another_reserve, settle, sweep])
@pytest.mark.parametrize(
    ("first", "free", "taken"),
    [(DAY, [MONTH, BUCKET, HOLD], []), (BUCKET, [HOLD], [DAY, MONTH])],
    ids=["day", "bucket"],
)
def test_rows_are_locked_in_order(
    work: Callable[[Hold], Awaitable[None]], first: str, free: list[str], taken: list[str]
) -> None:
    make_budget(make_tenant(), "tokens", "minute", 1000)

    async def main() -> None:
        hold = await ledger.reserve(wish(await caller_of()))
        async with locked(first):
            working = asyncio.ensure_future(work(hold))
            await somebody_waits()
            assert [row for row in free if not await is_free(row)] == []
            assert [row for row in taken if await is_free(row)] == []
        await working

    run(main())
