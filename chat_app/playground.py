"""A turn that staff tries: by the path of every request, charged to the tenant as any other, and
marked by the tenant's playground key. Who may try, and what the page says, is the admin's.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import orjson
from django.conf import settings

from chat_app import completion, sse
from chat_app.chat_stream import ChatStream
from chat_app.schema import ChatCall
from chat_app.serializers import ChatEvents
from tenants_app import directory
from tenants_app.api import tollgate_error
from tenants_app.errors import Forbidden, ServiceUnavailable, TenantSuspended, TollgateError
from tenants_app.key_uses import note_use
from tenants_app.snapshots import Caller
from tenants_app.tracing import Trace
from usage_app.errors import ConfigurationChanged

BEGIN_ATTEMPTS: Final = 3
# Each holds one of the few requests that the admin serves at once.
AT_ONCE: Final = 4
BUSY: Final = "Others are trying models at this moment; please try again when they are done"
REVOKED: Final = "The tenant's playground key is revoked"
# Beyond what an upstream may take: for a browser that reads nothing.
GRACE_SECONDS: Final = 60
DRAIN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried, with which playground key."""

    key_id: int
    call: ChatCall
    trace: Trace


class Teller(Protocol):
    """Puts a trial into words."""

    def ended(self, stream: ChatStream) -> Mapping[str, Any]:
        """What it came to, settled."""
        ...

    def refused(self, error: TollgateError) -> Mapping[str, Any]:
        """Why no model was asked."""
        ...


async def frames(trial: Trial, teller: Teller) -> AsyncIterator[bytes]:
    """The frames of POST /chat, and after them one of the event `tried`; or one `refused` alone.

    Nothing is held before the first one is asked for, and all is settled when it is closed.
    """
    task = asyncio.current_task()
    if len(_open) >= AT_ONCE:
        yield _frame("refused", teller.refused(ServiceUnavailable(BUSY)))
        return
    _open.add(task)
    try:
        async with asyncio.timeout(settings.UPSTREAM_TOTAL_TIMEOUT_SECONDS + GRACE_SECONDS):
            try:
                stream = await _begin(trial)
            except Exception as error:  # noqa: BLE001 - the answer has begun: it becomes a frame
                yield _frame("refused", teller.refused(tollgate_error(error)))
                return
            events = ChatEvents(stream)
            try:
                async for frame in events.frames():
                    yield frame
                yield _frame("tried", teller.ended(stream))
            finally:
                await asyncio.shield(events.aclose())
    finally:
        _open.discard(task)


async def drain() -> None:
    """Cut what is open in this loop and wait until it has settled: the server stops."""
    loop = asyncio.get_running_loop()
    ending = [task for task in _open if task is not None and task.get_loop() is loop]
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending, timeout=DRAIN_SECONDS)


_open: set[asyncio.Task[Any] | None] = set()


async def _begin(trial: Trial) -> ChatStream:
    """Start the turn as its key is now; again when the configuration changed under it.

    Raises as `completion.start` does, and Forbidden or TenantSuspended.
    """
    for _ in range(BEGIN_ATTEMPTS):
        caller = await _caller(trial.key_id)
        try:
            return await completion.start(caller, trial.call, trial.trace)
        except ConfigurationChanged:
            directory.discard(caller)
        except TollgateError as error:
            completion.note_refusal(caller, trial.trace, error)
            raise
    raise ServiceUnavailable


async def _caller(key_id: int) -> Caller:
    """Whoever tries leaves nothing behind in the tenant's sessions."""
    caller = await directory.by_key(key_id)
    if caller is None:
        raise Forbidden(REVOKED)
    if not caller.tenant.active:
        raise TenantSuspended
    note_use(key_id)
    return Caller(replace(caller.tenant, session_memory=False), caller.key)


def _frame(event: str, told: Mapping[str, Any]) -> bytes:
    return sse.frame(orjson.dumps(told), event)
