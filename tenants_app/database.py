"""The async connection pool of the request path: one per running event loop, opened at first use.

Everything sync uses Django's own connection. This module makes no statements.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connections
from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

POOL_MIN: Final = 1
POOL_MAX: Final = 8
# After an outage of 20 s the pool's own defaults lose another 9 s; with these it is back at once.
WAIT_SECONDS: Final = 1.0
RECONNECT_SECONDS: Final = 2.0
LOCK_TIMEOUT_MS: Final = 1_000
# pipeline.py prepares what is worth it. psycopg would answer every rollback with DEALLOCATE ALL as
# soon as it had prepared anything itself, and the batches' statements would be gone.
NEVER: Final = 2**31

T = TypeVar("T")
Row = tuple[Any, ...]
Connection = AsyncConnection[Row]


class Pool(AsyncConnectionPool[Connection]):
    """A pool that opens itself when the first connection is asked for."""

    async def getconn(self, timeout: float | None = None) -> Connection:  # noqa: ASYNC109 - psycopg's
        if self.closed:
            await self.open()
        return await super().getconn(timeout)


_pools: "WeakKeyDictionary[asyncio.AbstractEventLoop, Pool]" = WeakKeyDictionary()


def pool() -> Pool:
    """The running loop's pool of autocommit connections.

    Waiting longer than a second for a connection or a lock raises psycopg's OperationalError.
    """
    loop = asyncio.get_running_loop()
    existing = _pools.get(loop)
    if existing is None:
        existing = _pools[loop] = _make_pool()
    return existing


async def close() -> None:
    """Close the running loop's pool, if it has one; the next `pool()` makes another."""
    existing = _pools.pop(asyncio.get_running_loop(), None)
    if existing is not None:
        await existing.close()


async def retried(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do on a pooled connection what may be done twice: again on a live one if the first was lost.

    Every connection that waits in the pool when Postgres restarts is dead, up to `POOL_MAX` of
    them. Raises OperationalError when there is no database, and what the work raises.
    """
    try:
        async with pool().connection() as connection:
            return await work(connection)
    except PoolTimeout:
        raise
    except OperationalError:
        await pool().check()
    async with pool().connection() as connection:
        return await work(connection)


def _make_pool() -> Pool:
    return Pool(
        kwargs=connection_params() | {"autocommit": True},
        min_size=POOL_MIN,
        max_size=POOL_MAX,
        timeout=WAIT_SECONDS,
        reconnect_timeout=RECONNECT_SECONDS,
        open=False,
        name="tollgate",
    )


def connection_params() -> dict[str, Any]:
    """Django's parameters (so that a test's database name applies), with the pool's own options."""
    params = dict(connections["default"].get_connection_params())
    # Django's cursors and adapters serve its ORM, and it prepares no statements unless told to.
    for name in ("cursor_factory", "context", "prepare_threshold"):
        params.pop(name, None)
    own = settings.DATABASES["default"].get("OPTIONS", {})
    behind_a_pooler = own.get("prepare_threshold", NEVER) is None
    params["prepare_threshold"] = None if behind_a_pooler else NEVER
    options = f"-c lock_timeout={LOCK_TIMEOUT_MS} -c timezone=UTC"
    params["options"] = f"{params.get('options', '')} {options}".strip()
    return params
