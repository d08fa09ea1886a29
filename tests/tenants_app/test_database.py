"""The pool: one per loop, and back at once after an outage."""

import asyncio
from typing import Any

import psycopg
import pytest
from django.db import connection

from tenants_app import database, directory, keys, pipeline
from tenants_app.errors import ServiceUnavailable
from tests.factories import make_key, make_tenant
from tests.loops import run

pytestmark = pytest.mark.django_db(transaction=True)


async def ask(question: str) -> Any:
    async with database.pool().connection() as db:
        cursor = await db.execute(question)
        row = await cursor.fetchone()
        assert row is not None
        return row[0]


def test_pool_is_on_the_tests_database_with_its_own_settings() -> None:
    assert run(ask("SELECT current_database()")) == connection.settings_dict["NAME"]
    assert run(ask("SHOW lock_timeout")) == "1s"
    assert run(ask("SHOW timezone")) == "UTC"


def test_pool_is_one_per_loop_and_made_anew_after_close() -> None:
    async def pools() -> tuple[database.Pool, database.Pool, database.Pool]:
        first, again = database.pool(), database.pool()
        await ask("SELECT 1")
        await database.close()
        await ask("SELECT 1")
        return first, again, database.pool()

    first, again, anew = run(pools())
    assert first is again
    assert anew is not first
    assert run(pools())[0] is not first


def test_statement_outside_a_transaction_commits_by_itself() -> None:
    async def is_autocommit() -> bool:
        async with database.pool().connection() as db:
            return db.autocommit

    assert run(is_autocommit())


def test_lookup_survives_the_loss_of_every_pooled_connection() -> None:
    acme = make_tenant()
    first, second = make_key(acme).secret, make_key(acme).secret

    async def lose_them_in_between() -> Any:
        assert await directory.by_digest(keys.digest(first))
        with psycopg.connect(**database.connection_params(), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return await directory.by_digest(keys.digest(second))

    try:
        assert run(lose_them_in_between()) is not None
    finally:
        connection.close()


def test_database_that_is_away_is_unavailable_and_never_unauthorized(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = database.connection_params() | {"host": "127.0.0.1", "port": "1"}
    monkeypatch.setattr(database, "connection_params", lambda: params)
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.1)
    with pytest.raises(ServiceUnavailable):
        asyncio.run(_closing(keys.authenticate({"HTTP_X_API_KEY": keys.new_secret()})))


async def _closing(work: Any) -> None:
    try:
        await work
    finally:
        await database.close()


def test_prepared_statement_of_a_batch_survives_a_rollback_elsewhere() -> None:
    """psycopg answers a rollback with DEALLOCATE ALL, once it has prepared anything itself."""
    one = pipeline.statement("one", "SELECT 1")

    async def twice() -> Any:
        async with database.pool().connection() as db:
            await pipeline.run(db, (one, ()))
            await db.execute("BEGIN")
            for _ in range(9):
                await db.execute("SELECT 2")
            await db.rollback()
            await db.execute("SELECT 3")
            return await pipeline.run(db, (one, ()))

    assert run(twice()) == [[(b"1",)]]
