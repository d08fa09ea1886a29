"""Calendar days and months in a tenant's time zone, as UTC instants. Owns no clock: the caller
brings `now`.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

# No zone's offset change has ever moved the local date by more than this (Samoa skipped a whole day
# in 2011).
_LARGEST_JUMP = timedelta(days=1, hours=3)


@dataclass(frozen=True, slots=True)
class Period:
    """A span `[starts_at, ends_at)` of UTC instants; `first_day` is its first local date."""

    kind: Literal["day", "month"]
    first_day: date
    starts_at: datetime
    ends_at: datetime

    def contains(self, instant: datetime) -> bool:
        return self.starts_at <= instant < self.ends_at


def local_day(instant: datetime, timezone: str) -> date:
    """The calendar date that a clock on the wall in `timezone` shows at `instant` (aware)."""
    return instant.astimezone(_zone(timezone)).date()


@lru_cache(maxsize=4096)
def day_period(day: date, timezone: str) -> Period:
    """The local day: 23, 24 or 25 hours long across a change of the clocks."""
    return Period(
        "day", day, _start_of(day, timezone), _start_of(day + timedelta(days=1), timezone)
    )


@lru_cache(maxsize=4096)
def month_period(day: date, timezone: str) -> Period:
    """The local calendar month that contains `day`."""
    first = day.replace(day=1)
    return Period(
        "month", first, _start_of(first, timezone), _start_of(next_month(first), timezone)
    )


def next_month(day: date) -> date:
    """The first day of the month after the one that contains `day`."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


@lru_cache(maxsize=4096)
def _start_of(day: date, timezone: str) -> datetime:
    """The first instant whose local date is `day` or later.

    Midnight can be missing (clocks jump over it) or come twice; then the instant is searched for,
    to the second.
    """
    zone = _zone(timezone)
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    second = timedelta(seconds=1)
    if (
        midnight.astimezone(zone).date() == day
        and (midnight - second).astimezone(zone).date() < day
    ):
        return midnight
    before, after = midnight - _LARGEST_JUMP, midnight + _LARGEST_JUMP
    while after - before > second:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).date() >= day:
            after = middle
        else:
            before = middle
    return after


@lru_cache(maxsize=1024)
def _zone(timezone: str) -> ZoneInfo:
    return ZoneInfo(timezone)
