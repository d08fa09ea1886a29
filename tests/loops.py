"""Runs a coroutine from a sync test, and leaves no connection behind."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tenants_app import database

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of the coroutine, on a loop of its own whose pool is closed afterwards."""

    async def closing() -> T:
        try:
            return await work
        finally:
            await database.close()

    return asyncio.run(closing())
