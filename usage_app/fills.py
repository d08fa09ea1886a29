"""How full budgets are: what is used and held of each, what is left, and when it is there again.
PURE; the caller brings the rows and the clock.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tenants_app.snapshots import Limit, Raise
from usage_app.admission import MICRO, Bucket, Check, ScopeName, bucket_level, seconds_until
from usage_app.periods import day_period, local_day, month_period
from usage_app.pricing import to_units

# A window's columns before its first request.
NOTHING: Final = (0, 0, Decimal(0), 0, 0, Decimal(0))


@dataclass(frozen=True, slots=True)
class Fill:
    """How full one budget is. Amounts are requests, tokens or ledger units; `resets_at` is when all
    of it is there again, None when it is, or when that depends on requests under way. `raises` are
    those in force, the first to end before the others.
    """

    scope: ScopeName
    limit: Limit
    used: int
    held: int
    resets_at: datetime | None
    raises: Sequence[Raise] = ()

    @property
    def allowed(self) -> int:
        """The limit, with its raises in force."""
        return self.limit.limit + sum(one.extra for one in self.raises)

    @property
    def room(self) -> int:
        """What may be taken at once when nothing is."""
        return self.limit.burst or self.allowed

    @property
    def remaining(self) -> int:
        return max(self.room - self.used - self.held, 0)


@dataclass(frozen=True, slots=True)
class Owner:
    """The team or key whose budget it is; a team's name is its slug."""

    scope: ScopeName
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Counters:
    """The rows of a tenant, of one team and of one key, as far as they are needed: windows by scope
    and period, buckets by scope and metric. A window's are requests, tokens and cost, used and then
    held.
    """

    now: datetime
    timezone: str
    windows: Mapping[tuple[ScopeName, str], Sequence[Any]]
    buckets: Mapping[tuple[ScopeName, str], Bucket]


def fills_of(scope: ScopeName, limits: Iterable[Limit], counters: Counters) -> Iterator[Fill]:
    """How full each of a scope's budgets is, the shortest period first."""
    for limit in sorted(limits, key=_place):
        if limit.period == "minute":
            yield _minute(scope, limit, counters.buckets.get((scope, limit.metric)), counters)
        else:
            row = counters.windows.get((scope, limit.period), NOTHING)
            yield _window(scope, limit, row, counters)


def _place(limit: Limit) -> tuple[int, str]:
    return ("concurrent", "minute", "day", "month").index(limit.period), limit.metric


def _window(scope: ScopeName, limit: Limit, row: Sequence[Any], counters: Counters) -> Fill:
    used, held = row[_COLUMN[limit.metric]], row[_COLUMN[limit.metric] + 3]
    if limit.metric == "cost":
        used, held = to_units(used), to_units(held)
    in_force = [one for one in limit.raises if one.is_in_force(counters.now)]
    in_force.sort(key=lambda one: one.ends_at)
    return Fill(scope, limit, used, held, _ends_at(limit.period, counters), in_force)


_COLUMN = {"requests": 0, "tokens": 1, "cost": 2}


def _ends_at(period: str, counters: Counters) -> datetime | None:
    if period == "concurrent":
        return None
    today = local_day(counters.now, counters.timezone)
    span = day_period if period == "day" else month_period
    return span(today, counters.timezone).ends_at


def _minute(scope: ScopeName, limit: Limit, bucket: Bucket | None, counters: Counters) -> Fill:
    """A bucket that nobody has taken from yet is full."""
    if bucket is None:
        return Fill(scope, limit, 0, 0, None)
    capacity = limit.burst or limit.limit
    check = Check(scope, limit.metric, limit.limit, bucket, capacity)
    level = bucket_level(bucket, check, counters.now)
    wait = seconds_until(capacity * MICRO - level, check)
    resets_at = counters.now + timedelta(seconds=wait) if wait else None
    return Fill(scope, limit, capacity - level // MICRO, 0, resets_at)
