"""Who is calling and what they may do: the caller's configuration, cached but never stale.

A snapshot is used as long as it is current, and that is asked, not assumed: an admission compares
its versions with the database's in its own transaction, all other calls await `ensure_current`.
Whoever finds a snapshot out of date calls `discard` and looks the caller up again.
"""

import asyncio
import operator
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from psycopg import OperationalError

from tenants_app import configuration
from tenants_app.configuration import By, Catalogue, Known
from tenants_app.database import Connection, retried
from tenants_app.errors import ServiceUnavailable, TenantSuspended, Unauthorized
from tenants_app.snapshots import Caller, TenantSnapshot

T = TypeVar("T")
Lookup = tuple[By, Any]
Versions = tuple[int, int]

CALLERS_MAX: Final = 20_000
# Below the pool's size, so that a storm of reloads leaves connections to the ledger.
LOADERS: Final = 4
ATTEMPTS: Final = 3
# What requests carry; `refresh` looks up by ids, which no request knows.
REQUESTED: Final = frozenset({"digest", "slug", "host"})


class _Cache:
    """What this process knows; shared by its loops, each step on it is one of the interpreter's."""

    def __init__(self) -> None:
        self.callers: dict[Lookup, Caller] = {}
        # Which callers to drop with a tenant.
        self.lookups: dict[int, set[Lookup]] = {}
        self.tenants: dict[int, TenantSnapshot] = {}
        self.catalogue: Catalogue | None = None


class _Loop:
    """What belongs to one event loop: loads under way, and the next question for versions."""

    def __init__(self) -> None:
        self.loads: dict[Lookup, asyncio.Task[Caller | None]] = {}
        # One loader at a time per tenant.
        self.tenants: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self.slots = asyncio.Semaphore(LOADERS)
        self.asking = asyncio.Lock()
        self.question: _Question | None = None


class _Question:
    """The tenants whose versions one query will ask for, and its answer."""

    def __init__(self, state: _Loop) -> None:
        self.tenant_ids: set[int] = set()
        self.answer = _shared_task(_answer(state, self))


_cache = _Cache()
_loops: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop]" = WeakKeyDictionary()


def cached(by: By, value: Any) -> Caller | None:
    """The snapshot at hand, if there is one. Never waits."""
    return _cache.callers.get((by, value))


async def by_digest(digest: bytes) -> Caller | None:
    """The caller whose key has this digest; None if there is no such key or it is revoked."""
    return cached("digest", digest) or await _load(("digest", digest))


async def by_key(key_id: int) -> Caller | None:
    """The caller with this key as of now, which no request can name; None if it is revoked."""
    return await _load(("key", key_id))


async def by_slug(slug: str) -> Caller | None:
    """The tenant itself, without a key: only for a trusted edge's word."""
    return cached("slug", slug) or await _load(("slug", slug))


async def by_host(host: str) -> Caller | None:
    """The tenant that a lower-case host name is mapped to, without a key."""
    return cached("host", host) or await _load(("host", host))


async def ensure_current(caller: Caller) -> Caller:
    """This caller, or its newest snapshot if the configuration has changed meanwhile.

    One query serves all who ask while the one before is under way. Raises Unauthorized if the key
    is gone, TenantSuspended, or ServiceUnavailable if the database is.
    """
    asked = await _versions(caller.tenant.id)
    if asked == _versions_of(caller.tenant):
        return caller
    newest = await _at_least(asked, caller)
    if newest is None:
        raise Unauthorized
    if not newest.tenant.active:
        raise TenantSuspended
    return newest


async def refresh(caller: Caller) -> Caller | None:
    """The same caller, looked up again; None if the key or tenant is gone."""
    discard(caller)
    if caller.key is not None:
        return await _load(("key", caller.key.id))
    return await _load(("tenant", caller.tenant.id))


def discard(caller: Caller) -> None:
    """Drop this caller's tenant, which was found out of date, unless it has been replaced already.

    Of many who find it out at once, the first makes all the others wait for one load.
    """
    at_hand = _cache.tenants.get(caller.tenant.id)
    if at_hand is not None and _versions_of(at_hand) == _versions_of(caller.tenant):
        forget(caller.tenant.id)


def forget(tenant_id: int, *, shared: bool = False) -> None:
    """Drop the tenant's snapshots, with `shared` everyone's and the shared catalogue."""
    if shared:
        _cache.catalogue = None
        for cached_by_key in (_cache.callers, _cache.lookups, _cache.tenants):
            cached_by_key.clear()
    _cache.tenants.pop(tenant_id, None)
    for lookup in _cache.lookups.pop(tenant_id, ()):
        _cache.callers.pop(lookup, None)
    # Nobody who comes later may join a load that began before the change.
    for state in list(_loops.values()):
        state.loads.clear()


async def _at_least(asked: Versions, caller: Caller) -> Caller | None:
    """The caller at these versions or later: a load that is joined may have begun before them."""
    for _ in range(ATTEMPTS):
        newest = await refresh(caller)
        if newest is None or all(map(operator.ge, _versions_of(newest.tenant), asked)):
            return newest
        caller = newest
    raise ServiceUnavailable


async def _load(lookup: Lookup) -> Caller | None:
    """One task for all who want the same; it outlives the caller who began it."""
    loads = _state().loads
    task = loads.get(lookup)
    if task is None:
        task = loads[lookup] = _shared_task(_read_caller(lookup))
        task.add_done_callback(lambda done: _finish(loads, lookup, done))
    return await asyncio.shield(task)


async def _read_caller(lookup: Lookup) -> Caller | None:
    identity = await _reading(lambda db: configuration.read_identity(db, *lookup))
    if identity is None:
        return None
    tenant = _cache.tenants.get(identity.tenant_id)
    if tenant is not None and identity.is_at(tenant):
        return _remember(lookup, Caller(tenant, identity.key))
    async with _state().tenants.setdefault(identity.tenant_id, asyncio.Lock()):
        read = await _reading(
            lambda db: configuration.read_caller(
                db, *lookup, Known(_cache.tenants, _cache.catalogue)
            )
        )
        return None if read is None else _remember(lookup, *read)


def _remember(lookup: Lookup, caller: Caller, catalogue: Catalogue | None = None) -> Caller:
    """Keep a caller, and what was read for it, unless something newer is at hand."""
    tenant = caller.tenant
    if catalogue is not None:
        _cache.catalogue = catalogue
    at_hand = _cache.tenants.get(tenant.id)
    if at_hand is not None and _versions_of(at_hand) > _versions_of(tenant):
        return caller
    if at_hand is not tenant:
        # Keys that were read at another version do not agree with the new snapshot.
        for old in _cache.lookups.pop(tenant.id, ()):
            _cache.callers.pop(old, None)
        _cache.tenants[tenant.id] = tenant
    if lookup[0] in REQUESTED:
        _cache.callers[lookup] = caller
        _cache.lookups.setdefault(tenant.id, set()).add(lookup)
    if len(_cache.callers) > CALLERS_MAX:
        forget(next(iter(_cache.callers.values())).tenant.id)
    return caller


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


def _shared_task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that is no request's: what it opens and logs must not carry the first one's trace."""
    return asyncio.get_running_loop().create_task(work, context=Context())


def _finish(
    loads: dict[Lookup, asyncio.Task[Caller | None]],
    lookup: Lookup,
    done: asyncio.Task[Caller | None],
) -> None:
    if loads.get(lookup) is done:
        del loads[lookup]
    if not done.cancelled():
        done.exception()  # Looked at, also when every caller has left.


async def _reading(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Read on a pooled connection, by a bounded number of loaders."""
    async with _state().slots:
        try:
            return await retried(work)
        except OperationalError as error:
            raise ServiceUnavailable from error


def _state() -> _Loop:
    loop = asyncio.get_running_loop()
    state = _loops.get(loop)
    if state is None:
        state = _loops[loop] = _Loop()
    return state
