"""Who is calling and what they may do: the caller's configuration, cached but never stale.

A snapshot is used as long as it is current, and that is asked, not assumed: an admission compares
its versions with the database's in its own transaction, all other calls await `ensure_current`.
Whoever finds a snapshot out of date calls `forget` and looks the caller up again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from tenants_app import configuration
from tenants_app.configuration import By, Catalogue
from tenants_app.database import Connection, pool
from tenants_app.errors import ServiceUnavailable, TenantSuspended, Unauthorized
from tenants_app.snapshots import (
    Caller,
    KeySnapshot,
    Limit,
    ModelSnapshot,
    RouteSnapshot,
    TenantSnapshot,
    UpstreamSnapshot,
)

__all__ = [
    "Caller",
    "KeySnapshot",
    "Limit",
    "ModelSnapshot",
    "RouteSnapshot",
    "TenantSnapshot",
    "UpstreamSnapshot",
    "by_digest",
    "by_host",
    "by_slug",
    "cached",
    "ensure_current",
    "forget",
    "refresh",
]

T = TypeVar("T")
Lookup = tuple[By, Any]
# A caller by its lookup, or a tenant's snapshot by its id.
Load = Lookup | int
Versions = tuple[int, int]

CALLERS_MAX: Final = 20_000
# Below the pool's size, so that a storm of reloads leaves connections to the ledger.
LOADERS: Final = 4
ATTEMPTS: Final = 3

_callers: dict[Lookup, Caller] = {}
_lookups: dict[int, set[Lookup]] = {}
_tenants: dict[int, TenantSnapshot] = {}
_catalogue: Catalogue | None = None


class _Loop:
    """What belongs to one event loop: loads under way, and the next question for versions."""

    def __init__(self) -> None:
        self.loads: dict[Load, asyncio.Task[Any]] = {}
        self.slots = asyncio.Semaphore(LOADERS)
        self.asking = asyncio.Lock()
        self.question: _Question | None = None


class _Question:
    """The tenants whose versions one query will ask for, and its answer."""

    def __init__(self, state: _Loop) -> None:
        self.tenant_ids: set[int] = set()
        self.answer = asyncio.create_task(_answer(state, self))


_loops: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop]" = WeakKeyDictionary()


def cached(by: By, value: Any) -> Caller | None:
    """The snapshot at hand, if there is one. Never waits."""
    return _callers.get((by, value))


async def by_digest(digest: bytes) -> Caller | None:
    """The caller whose key has this digest; None if there is no such key or it is revoked."""
    return cached("digest", digest) or await _load(("digest", digest))


async def by_slug(slug: str) -> Caller | None:
    """The tenant itself, without a key: only for a trusted edge's word."""
    return cached("slug", slug) or await _load(("slug", slug))


async def by_host(host: str) -> Caller | None:
    """The tenant that a lower-case host name is mapped to, without a key."""
    return cached("host", host) or await _load(("host", host))


async def refresh(caller: Caller) -> Caller | None:
    """The same caller at the newest version; None if the key or tenant is gone."""
    forget(caller.tenant.id)
    if caller.key is not None:
        return await _load(("key", caller.key.id))
    return await _load(("tenant", caller.tenant.id))


async def ensure_current(caller: Caller) -> Caller:
    """This caller, or its newest snapshot if the configuration has changed meanwhile.

    One query serves all who ask while the one before is under way. Raises Unauthorized if the key
    is gone, TenantSuspended, or ServiceUnavailable if the database is.
    """
    tenant = caller.tenant
    if await _versions(tenant.id) == (tenant.version, tenant.shared_version):
        return caller
    newest = await refresh(caller)
    if newest is None:
        raise Unauthorized
    if not newest.tenant.active:
        raise TenantSuspended
    return newest


def forget(tenant_id: int, *, shared: bool = False) -> None:
    """Drop the tenant's snapshots, with `shared` everyone's and the shared catalogue."""
    global _catalogue  # noqa: PLW0603 - one cache per process
    if shared:
        _catalogue = None
        for cache in (_callers, _lookups, _tenants):
            cache.clear()
    _tenants.pop(tenant_id, None)
    for lookup in _lookups.pop(tenant_id, ()):
        _callers.pop(lookup, None)
    # Nobody who comes later may join a load that began before the change.
    for state in list(_loops.values()):
        state.loads.clear()


async def _load(lookup: Lookup) -> Caller | None:
    return await _joined(lookup, lambda: _read_caller(lookup))


async def _read_caller(lookup: Lookup) -> Caller | None:
    """Identity and tenant are two reads, so they must tell the same versions."""
    for _ in range(ATTEMPTS):
        identity = await _reading(lambda db: configuration.read_identity(db, *lookup))
        if identity is None:
            return None
        versions = (identity.version, identity.shared_version)
        tenant = await _tenant_at(identity.tenant_id, versions)
        if tenant is not None and _versions_of(tenant) == versions:
            caller = Caller(tenant, identity.key)
            _remember(lookup, caller)
            return caller
    raise ServiceUnavailable


async def _tenant_at(tenant_id: int, versions: Versions) -> TenantSnapshot | None:
    tenant = _tenants.get(tenant_id)
    if tenant is not None and _versions_of(tenant) == versions:
        return tenant
    return await _joined(tenant_id, lambda: _read_tenant(tenant_id))


async def _read_tenant(tenant_id: int) -> TenantSnapshot | None:
    global _catalogue
    read = await _reading(lambda db: configuration.read_tenant(db, tenant_id, _catalogue))
    if read is None:
        return None
    tenant, _catalogue = read
    known = _tenants.get(tenant_id)
    if known is None or _versions_of(known) <= _versions_of(tenant):
        # Keys loaded at another version would not agree with the tenant's new snapshot.
        for lookup in _lookups.pop(tenant_id, ()):
            _callers.pop(lookup, None)
        _tenants[tenant_id] = tenant
    return tenant


def _remember(lookup: Lookup, caller: Caller) -> None:
    if lookup[0] in ("key", "tenant") or _tenants.get(caller.tenant.id) is not caller.tenant:
        return
    while len(_callers) >= CALLERS_MAX:
        oldest = next(iter(_callers.values()))
        forget(oldest.tenant.id)
    _callers[lookup] = caller
    _lookups.setdefault(caller.tenant.id, set()).add(lookup)


def _versions_of(tenant: TenantSnapshot) -> Versions:
    return tenant.version, tenant.shared_version


async def _versions(tenant_id: int) -> Versions:
    """The tenant's version and the shared one, by a query that begins after this call."""
    state = _state()
    question = state.question
    if question is None:
        question = state.question = _Question(state)
    question.tenant_ids.add(tenant_id)
    versions = await asyncio.shield(question.answer)
    return versions.get(tenant_id, 0), versions.get(None, 0)


async def _answer(state: _Loop, question: _Question) -> dict[int | None, int]:
    async with state.asking:
        # From here on others begin the next question.
        state.question = None
        return await _reading(lambda db: configuration.read_versions(db, question.tenant_ids))


async def _joined(load: Load, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """One task for all who want the same; it outlives the caller who began it."""
    loads = _state().loads
    task = loads.get(load)
    if task is None:
        task = loads[load] = asyncio.create_task(read())
        task.add_done_callback(lambda done: _finish(loads, load, done))
    answer: T = await asyncio.shield(task)
    return answer


def _finish(loads: dict[Load, asyncio.Task[Any]], load: Load, done: asyncio.Task[Any]) -> None:
    if loads.get(load) is done:
        del loads[load]
    if not done.cancelled():
        done.exception()  # Looked at, also when every caller has left.


async def _reading(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Read on a pooled connection; once more on a fresh one if the server had closed it."""
    async with _state().slots:
        for attempt in range(2):
            try:
                async with pool().connection() as connection:
                    return await work(connection)
            except OperationalError as error:
                if attempt or isinstance(error, PoolTimeout):
                    raise ServiceUnavailable from error
                await pool().check()
    raise AssertionError("unreachable")


def _state() -> _Loop:
    loop = asyncio.get_running_loop()
    state = _loops.get(loop)
    if state is None:
        state = _loops[loop] = _Loop()
    return state
