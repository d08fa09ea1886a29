"""Statements in one round trip, on connections that psycopg uses too."""

import pytest

from tenants_app import pipeline
from tenants_app.database import pool
from tenants_app.pipeline import statement
from tests.loops import run

pytestmark = pytest.mark.django_db(transaction=True)

ONE = statement("one_of_a_test", "SELECT 1")
TWO = statement("two_of_a_test", "SELECT %s::integer")


def test_statements_are_prepared_anew_after_they_were_dropped() -> None:
    async def main() -> list[pipeline.Rows]:
        async with pool().connection() as connection:
            await pipeline.run(connection, (ONE, ()))
            await connection.execute("DEALLOCATE ALL")
            return await pipeline.run(connection, (pipeline.BEGIN, ()), (ONE, ()), (TWO, [b"2"]))

    assert run(main()) == [[], [(b"1",)], [(b"2",)]]


def test_what_was_prepared_since_they_were_dropped_is_no_stumbling_block() -> None:
    """TWO is prepared after the others were dropped, and before that is noticed."""

    async def main() -> list[list[pipeline.Rows]]:
        async with pool().connection() as connection:
            await pipeline.run(connection, (ONE, ()))
            await connection.execute("DEALLOCATE ALL")
            return [
                await pipeline.run(connection, *commands)
                for commands in ([(TWO, [b"2"])], [(ONE, ())], [(TWO, [b"3"])], [(ONE, ())])
            ]

    assert run(main()) == [[[(b"2",)]], [[(b"1",)]], [[(b"3",)]], [[(b"1",)]]]
