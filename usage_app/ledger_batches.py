"""The two transactions behind `ledger`: one admits a batch of wishes, one settles a batch of holds.

Each is two round trips at most, whatever the batch's size. Retries and queues are `ledger`'s.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
from psycopg import OperationalError

from tenants_app import pipeline
from tenants_app.database import Connection
from tenants_app.pipeline import statement, text_array
from tenants_app.snapshots import Limit
from usage_app import admission
from usage_app import ledger_sql as sql
from usage_app.admission import Bucket, Check, Grant, Refusal, Window
from usage_app.errors import ConfigurationChanged
from usage_app.holds import BudgetState, Hold, RateState, Wish, late_keys, money_text
from usage_app.scopes import Scope, Scopes

Counters = Mapping[int, tuple[Mapping[str, int], Mapping[str, int]]]

_LOCK_WINDOWS = statement("lock_windows", sql.LOCK_WINDOWS)
_LOCK_WINDOW_IDS = statement("lock_window_ids", sql.LOCK_WINDOW_IDS)
_LOCK_BUCKETS = statement("lock_buckets", sql.LOCK_BUCKETS)
_READ_VERSIONS = statement("read_versions", sql.READ_VERSIONS)
_RESERVE = statement("reserve", sql.RESERVE)
_SETTLE = statement("settle", sql.SETTLE)


class PeriodEnded(Exception):
    """A remembered window is over by the database's clock, or gone: find the scopes again."""


class CommitUnknown(Exception):
    """The connection was lost while a commit was under way: it may have happened."""


@dataclass(slots=True)
class Books:
    """The locked counters of one batch, as they were and as its decisions change them."""

    now: datetime
    versions: Mapping[int, int]
    windows: Mapping[int, Window]
    buckets: Mapping[int, Bucket]


async def reserve(
    connection: Connection, wishes: Sequence[Wish], scopes: Scopes, process_id: UUID
) -> list[Hold | Refusal | BaseException]:
    """Decide all wishes in arrival order, in one transaction, and write the holds of those that
    were granted.

    Locks the windows and then the buckets of all of them, by id. Raises PeriodEnded and
    CommitUnknown, and what the database raises; then nothing was written (CommitUnknown: nobody
    knows).
    """
    found = [scopes.find(wish.caller) for wish in wishes]
    places = [place for place in found if place is not None]
    if len(places) < len(wishes):
        raise PeriodEnded
    try:
        books = await _lock(connection, wishes, places)
        results = [_admit(wish, place, books) for wish, place in zip(wishes, places, strict=True)]
        held = [(w, r) for w, r in zip(wishes, results, strict=True) if isinstance(r, Hold)]
        await _write_holds(connection, held, books, process_id)
    except BaseException:
        await pipeline.rollback(connection)
        raise
    return results


async def settle(connection: Connection, rows: Sequence[tuple[Hold, bytes]]) -> Counters:
    """Move every hold to used and write its entry; one that was swept meanwhile gets an adjustment.

    Repeating it changes nothing. Locks windows, then buckets, by id. Answers with the counters
    afterwards, by window. One round trip, and one implicit transaction.
    """
    window_ids = {window for hold, _ in rows for window in hold.window_ids}
    bucket_ids = {bucket for hold, _ in rows for bucket in hold.bucket_ids}
    *_, found = await pipeline.run(
        connection,
        (_LOCK_WINDOW_IDS, [text_array(sorted(window_ids))]),
        *_bucket_lock(bucket_ids),
        (_SETTLE, [b"[%s]" % b",".join(row for _, row in rows)]),
    )
    settled = {row[-1] for row in found}
    for hold, row in rows:
        if str(hold.request_id).encode() not in settled:
            await _settle_late(connection, hold, row)
    return {int(row[0]): _counters(row[1:7]) for row in found if row[0] is not None}


async def _settle_late(connection: Connection, hold: Hold, row: bytes) -> None:
    late = orjson.dumps([orjson.loads(row) | late_keys(hold)]).decode()
    async with connection.transaction():
        await connection.execute(sql.LOCK_WINDOW_IDS, [sorted(hold.window_ids)])
        await connection.execute(sql.SETTLE_LATE, {"row": late})


async def _lock(
    connection: Connection, wishes: Sequence[Wish], places: Sequence[tuple[Scope, ...]]
) -> Books:
    involved = [scope for place in places for scope in place]
    window_ids = sorted({row for scope in involved for row in scope.window_ids.values()})
    bucket_ids = sorted({row for scope in involved for row in scope.bucket_ids.values()})
    tenant_ids = sorted({wish.caller.tenant.id for wish in wishes})
    _, window_rows, *between, versions = await pipeline.run(
        connection,
        (pipeline.BEGIN, ()),
        (_LOCK_WINDOWS, [text_array(window_ids)]),
        *_bucket_lock(bucket_ids),
        (_READ_VERSIONS, [text_array(tenant_ids)]),
    )
    bucket_rows = between[0] if between else []
    if len(window_rows) < len(window_ids) or len(bucket_rows) < len(bucket_ids):
        raise PeriodEnded
    now = _instant(versions[0][0])
    return Books(
        now=now,
        versions={int(row[1] or 0): int(row[2]) for row in versions if row[2] is not None},
        windows={int(row[0]): _window(row, now) for row in window_rows},
        buckets={
            int(row[0]): Bucket(int(row[0]), int(row[1]), _instant(row[2])) for row in bucket_rows
        },
    )


def _window(row: Any, now: datetime) -> Window:
    ends_at = _instant(row[3])
    if not _instant(row[2]) <= now < ends_at:
        raise PeriodEnded
    return Window(int(row[0]), row[1].decode(), ends_at, *_counters(row[4:]))


def _bucket_lock(bucket_ids: Collection[int]) -> list[tuple[pipeline.Statement, list[bytes]]]:
    """Nothing to send for the many callers without a budget by the minute."""
    return [(_LOCK_BUCKETS, [text_array(sorted(bucket_ids))])] if bucket_ids else []


@lru_cache(maxsize=256)
def _instant(text: bytes) -> datetime:
    """A timestamptz in a session whose time zone is UTC."""
    return datetime.fromisoformat(text.decode())


def _admit(wish: Wish, place: tuple[Scope, ...], books: Books) -> Hold | Refusal | BaseException:
    tenant = wish.caller.tenant
    if (
        books.versions.get(tenant.id, 0) != tenant.version
        or books.versions.get(0, 0) != tenant.shared_version
    ):
        return ConfigurationChanged()
    checks = [_check(limit, scope, books) for scope in place for limit in _limits(wish, scope)]
    verdict = admission.decide(wish.demand, checks, books.now)
    if isinstance(verdict, Refusal):
        return verdict
    return _hold(wish, place, books, checks, verdict)


def _limits(wish: Wish, scope: Scope) -> Sequence[Limit]:
    key = wish.caller.key
    if key is None or scope.name == "tenant":
        return wish.caller.tenant.limits
    return key.limits if scope.name == "key" or key.team is None else key.team.limits


def _hold(
    wish: Wish, place: tuple[Scope, ...], books: Books, checks: Sequence[Check], grant: Grant
) -> Hold:
    windows = [row for scope in place for row in scope.window_ids.values()]
    for window_id in windows:
        held = books.windows[window_id].held
        held["requests"] += 1
        held["tokens"] += grant.tokens
        held["cost"] += grant.cost
    return Hold(
        request_id=wish.request_id,
        tenant_id=wish.caller.tenant.id,
        created_at=books.now,
        local_day=place[0].day.first_day,
        tokens=grant.tokens,
        cost=grant.cost,
        output_tokens=grant.output_tokens,
        window_ids=windows,
        bucket_ids=[
            row for scope in place for metric, row in scope.bucket_ids.items() if metric == "tokens"
        ],
        budgets=[
            _budget_state(check, check.counter)
            for check in checks
            if isinstance(check.counter, Window) and check.counter.period != "concurrent"
        ],
        rate=_rate_state(checks, books.now),
        model=wish.model,
        upstream=wish.upstream,
        price_id=wish.price_id,
        model_reason=wish.model_reason,
    )


def _check(limit: Limit, scope: Scope, books: Books) -> Check:
    if limit.period == "minute":
        bucket = books.buckets[scope.bucket_ids[limit.metric]]
        return Check(scope.name, limit.metric, limit.limit, bucket, limit.burst or limit.limit)
    window = books.windows[scope.window_ids[limit.period]]
    allowed = limit.at(books.now) if limit.raises else limit.limit
    return Check(scope.name, limit.metric, allowed, window)


def _budget_state(check: Check, window: Window) -> BudgetState:
    return BudgetState(
        scope=check.scope,
        metric=check.metric,
        period=window.period,
        limit=check.limit,
        used=window.used[check.metric],
        held=window.held[check.metric],
        resets_at=window.ends_at,
        window_id=window.id,
    )


def _rate_state(checks: Sequence[Check], now: datetime) -> RateState | None:
    """The tightest requests-per-minute budget, after this request was taken."""
    found: RateState | None = None
    for check in checks:
        bucket = check.counter
        if check.metric != "requests" or not isinstance(bucket, Bucket):
            continue
        level = max(admission.bucket_level(bucket, check, now), 0)
        reset = admission.seconds_until(check.burst * admission.MICRO - level, check)
        state = RateState(check.limit, level // admission.MICRO, reset)
        if found is None or state.remaining < found.remaining:
            found = state
    return found


async def _write_holds(
    connection: Connection, held: Sequence[tuple[Wish, Hold]], books: Books, process_id: UUID
) -> None:
    deltas: dict[int, list[int]] = {}
    for _, hold in held:
        for window_id in hold.window_ids:
            delta = deltas.setdefault(window_id, [0, 0, 0])
            delta[0] += 1
            delta[1] += hold.tokens
            delta[2] += hold.cost
    windows = [
        {"id": row, "requests": n, "tokens": tokens, "cost": money_text(cost)}
        for row, (n, tokens, cost) in deltas.items()
    ]
    buckets = [
        {"id": b.id, "level_micro": b.level_micro, "refilled_at": b.refilled_at}
        for b in books.buckets.values()
    ]
    rows = [_hold_row(wish, hold, process_id) for wish, hold in held]
    write = [(_RESERVE, [orjson.dumps(part) for part in (rows, windows, buckets)])] if held else []
    try:
        await pipeline.run(connection, *write, (pipeline.COMMIT, ()))
    except OperationalError as error:
        if connection.closed:
            raise CommitUnknown from error
        raise


def _hold_row(wish: Wish, hold: Hold, process_id: UUID) -> dict[str, Any]:
    caller = wish.caller
    return {
        "id": hold.request_id,
        "created_at": hold.created_at,
        "local_day": hold.local_day,
        "tenant_id": caller.tenant.id,
        "api_key_id": caller.key.id if caller.key is not None else None,
        "trace_id": wish.trace_id,
        "cost_center": caller.tenant.cost_center,
        "model": wish.model,
        "model_reason": wish.model_reason,
        "upstream": wish.upstream,
        "price_id": wish.price_id,
        "stream": wish.stream,
        "user_hash": wish.user_hash,
        "metadata": wish.metadata,
        "held_tokens": hold.tokens,
        "process_id": process_id,
        "window_ids": hold.window_ids,
        "bucket_ids": hold.bucket_ids,
        "held_input_tokens": wish.demand.input_tokens,
        "held_cost": money_text(hold.cost),
        "estimated_input_tokens": wish.estimated_input_tokens,
    }


def _counters(columns: Sequence[Any]) -> tuple[dict[Any, int], dict[Any, int]]:
    requests, tokens, cost, held_requests, held_tokens, held_cost = map(int, columns)
    return (
        {"requests": requests, "tokens": tokens, "cost": cost},
        {"requests": held_requests, "tokens": held_tokens, "cost": held_cost},
    )
