"""Runs a coroutine from a sync test, and leaves nothing of it behind."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tenants_app import database
from usage_app import ledger

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of the coroutine, on a loop of its own: its ledger drained, its pool closed."""

    async def closing() -> T:
        try:
            return await work
        finally:
            await ledger.current().close()
            await database.close()

    return asyncio.run(closing())
