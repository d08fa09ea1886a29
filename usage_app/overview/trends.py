"""The last 30 days and the last 24 hours, for charts: days from the tenants' windows, as they count
now; hours from the roll-ups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from usage_app.overview.look import SEEN, Look

DAYS: Final = 30
HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class Day:
    """What all tenants used in a day, each by its own calendar."""

    day: date
    requests: int = 0
    tokens: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Hour:
    """One clock hour, UTC."""

    hour: datetime
    requests: int = 0
    errors: int = 0
    refusals: int = 0


def days(look: Look) -> Sequence[Day]:
    """To the last day that has begun for any tenant with usage, or for UTC."""
    found = {row[0]: Day(*row) for row in look.rows(_DAYS)}
    last = max([*found, look.now.astimezone(UTC).date()])
    span = [last - timedelta(days=ago) for ago in reversed(range(DAYS))]
    return [found.get(day, Day(day)) for day in span]


def hours(look: Look) -> Sequence[Hour]:
    """To the hour that is under way."""
    last = look.now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    first = last - timedelta(hours=HOURS - 1)
    used = {hour: (requests, errors) for hour, requests, errors in look.rows(_USED, first=first)}
    refused: Mapping[datetime, int] = dict(look.rows(_REFUSED, first=first))
    span = [first + timedelta(hours=number) for number in range(HOURS)]
    return [Hour(hour, *used.get(hour, (0, 0)), refused.get(hour, 0)) for hour in span]


# OFFSET 0: a look into the index for each tenant, whatever the planner believes.
_DAYS = f"""
SELECT w.day, sum(w.requests)::bigint, sum(w.tokens)::bigint, sum(w.cost)
FROM tenants_app_tenant t
JOIN LATERAL (
    SELECT (w.starts_at AT TIME ZONE t.timezone)::date AS day, w.requests, w.tokens, w.cost
    FROM usage_app_usagewindow w
    WHERE w.tenant_id = t.id AND w.api_key_id IS NULL AND w.team_id IS NULL
        AND w.period = 'day'
        AND w.starts_at > %(now)s::timestamptz - interval '32 days' AND w.starts_at <= %(now)s
    OFFSET 0
) w ON true
WHERE {SEEN} GROUP BY w.day
"""
_USED = f"""
SELECT r.hour, sum(r.requests)::bigint, sum(r.errors)::bigint
FROM tenants_app_tenant t
JOIN LATERAL (
    SELECT r.hour, r.requests, r.errors FROM usage_app_hourlyusage r
    WHERE r.tenant_id = t.id AND r.hour >= %(first)s AND r.hour <= %(now)s OFFSET 0
) r ON true
WHERE {SEEN} GROUP BY r.hour
"""
_REFUSED = f"""
SELECT date_trunc('hour', n.hour, 'UTC'), sum(n.refusals)::bigint
FROM usage_app_refusalcount n JOIN tenants_app_tenant t ON t.id = n.tenant_id
WHERE n.hour >= %(first)s AND n.hour <= %(now)s AND {SEEN} GROUP BY 1
"""
