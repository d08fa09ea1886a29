"""Which rows of the books belong to a tenant, a team and a key now: their ids, found once and
remembered per process.

Creates missing windows and buckets, in a transaction of their own; it never writes a counter of one
that exists.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from tenants_app.database import Connection
from tenants_app.snapshots import Caller, Limit
from usage_app import ledger_sql as sql
from usage_app.admission import MICRO, ScopeName
from usage_app.periods import Period, day_period, local_day, month_period

_REMEMBERED = 20_000
_FOR_EVER = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(slots=True)
class Scope:
    """The rows that count for a tenant (no other id), a team or a key, in the day and month at
    hand.
    """

    name: ScopeName
    tenant_id: int
    team_id: int | None
    key_id: int | None
    timezone: str
    day: Period
    month: Period
    window_ids: dict[str, int] = field(default_factory=dict)
    bucket_ids: dict[str, int] = field(default_factory=dict)

    def serves(self, limits: Iterable[Limit], timezone: str) -> bool:
        """Whether every row that these limits need is known."""
        if self.timezone != timezone:
            return False
        for limit in limits:
            known = self.bucket_ids if limit.period == "minute" else self.window_ids
            if (limit.metric if limit.period == "minute" else limit.period) not in known:
                return False
        return True


class Scopes:
    """The remembered scopes of one process; the least used are forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Place, Scope] = OrderedDict()

    def find(self, caller: Caller) -> tuple[Scope, ...] | None:
        """The caller's scopes, the widest first, or None when a row is not known yet."""
        tenant, key = caller.tenant, caller.key
        scope = self._known.get((tenant.id, None, None))
        if scope is None or not scope.serves(tenant.limits, tenant.timezone):
            return None
        if key is None:
            return (scope,)
        own = self._known.get((tenant.id, None, key.id))
        if own is None or not own.serves(key.limits, tenant.timezone):
            return None
        team = key.team
        if team is None:
            return (scope, own)
        shared = self._known.get((tenant.id, team.id, None))
        if shared is None or not shared.serves(team.limits, tenant.timezone):
            return None
        return (scope, shared, own)

    def forget(self, callers: Iterable[Caller]) -> None:
        """Look these callers' rows up again: their period is over, or a row is gone."""
        for place in _needed(callers):
            self._known.pop(place, None)

    async def ensure(self, connection: Connection, callers: Iterable[Caller]) -> None:
        """Find or create, by the database's clock, every row that these callers count in."""
        needed = _needed(caller for caller in callers if self.find(caller) is None)
        if not needed:
            return
        cursor = await connection.execute("SELECT clock_timestamp()")
        (now,) = await cursor.fetchone()  # type: ignore[misc]  # one row, always
        made = [_empty_scope(place, timezone, now) for place, (timezone, _) in needed.items()]
        await _find_windows(connection, made, needed)
        await _find_buckets(connection, made, needed)
        for scope in made:
            self._known[_place(scope)] = scope
            self._known.move_to_end(_place(scope))
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


# Tenant, team and key; at most one of the last two.
_Place = tuple[int, int | None, int | None]
_Needed = Mapping[_Place, tuple[str, Sequence[Limit]]]


def _needed(callers: Iterable[Caller]) -> _Needed:
    """Two snapshots of one tenant may differ: the rows of both are needed."""
    needed: dict[_Place, tuple[str, Sequence[Limit]]] = {}
    for caller in callers:
        for place, limits in _places(caller):
            _, others = needed.get(place, ("", ()))
            both = limits if limits == others else (*others, *limits)
            needed[place] = (caller.tenant.timezone, both)
    return needed


def _places(caller: Caller) -> Iterable[tuple[_Place, Sequence[Limit]]]:
    tenant, key = caller.tenant, caller.key
    yield (tenant.id, None, None), tenant.limits
    if key is not None and key.team is not None:
        yield (tenant.id, key.team.id, None), key.team.limits
    if key is not None:
        yield (tenant.id, None, key.id), key.limits


def _place(scope: Scope) -> _Place:
    return scope.tenant_id, scope.team_id, scope.key_id


def _empty_scope(place: _Place, timezone: str, now: datetime) -> Scope:
    tenant_id, team_id, key_id = place
    today = local_day(now, timezone)
    return Scope(
        name="tenant" if place[1:] == (None, None) else "key" if team_id is None else "team",
        tenant_id=tenant_id,
        team_id=team_id,
        key_id=key_id,
        timezone=timezone,
        day=day_period(today, timezone),
        month=month_period(today, timezone),
    )


async def _find_windows(connection: Connection, scopes: Sequence[Scope], needed: _Needed) -> None:
    rows = [row for scope in scopes for row in _window_rows(scope, needed[_place(scope)][1])]
    found = await _create_and_find(connection, sql.CREATE_WINDOWS, sql.FIND_WINDOWS, rows)
    by_place = {_place(scope): scope for scope in scopes}
    for row_id, tenant_id, team_id, key_id, period in found:
        by_place[tenant_id, team_id, key_id].window_ids[period] = row_id


def _window_rows(scope: Scope, limits: Sequence[Limit]) -> Iterable[dict[str, Any]]:
    spans = {
        "day": (scope.day.starts_at, scope.day.ends_at),
        "month": (scope.month.starts_at, scope.month.ends_at),
    }
    if any(limit.period == "concurrent" for limit in limits):
        spans["concurrent"] = _FOR_EVER
    for period, (starts_at, ends_at) in spans.items():
        yield {
            "tenant_id": scope.tenant_id,
            "team_id": scope.team_id,
            "api_key_id": scope.key_id,
            "period": period,
            "starts_at": starts_at,
            "ends_at": ends_at,
        }


async def _find_buckets(connection: Connection, scopes: Sequence[Scope], needed: _Needed) -> None:
    rows = [
        {
            "tenant_id": scope.tenant_id,
            "team_id": scope.team_id,
            "api_key_id": scope.key_id,
            "metric": limit.metric,
            "level_micro": (limit.burst or limit.limit) * MICRO,
        }
        for scope in scopes
        for limit in needed[_place(scope)][1]
        if limit.period == "minute"
    ]
    if not rows:
        return
    found = await _create_and_find(connection, sql.CREATE_BUCKETS, sql.FIND_BUCKETS, rows)
    by_place = {_place(scope): scope for scope in scopes}
    for row_id, tenant_id, team_id, key_id, metric in found:
        by_place[tenant_id, team_id, key_id].bucket_ids[metric] = row_id


async def _create_and_find(
    connection: Connection, create: str, find: str, rows: Sequence[Mapping[str, Any]]
) -> list[Any]:
    text = orjson.dumps(rows).decode()
    await connection.execute(create, [text])
    return await (await connection.execute(find, [text])).fetchall()
