"""Today and this month at a glance, each tenant's by its own calendar: what windows count at this
moment, what the roll-ups know of errors and latencies, and what was refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from usage_app.amounts import readable
from usage_app.histograms import Between, percentile
from usage_app.overview.look import SEEN, Look, share
from usage_app.usage_sql import HISTOGRAM_SUMS

BUSIEST: Final = 5


@dataclass(frozen=True, slots=True)
class Counters:
    """What windows of one period count."""

    requests: int
    tokens: int
    cost: Decimal

    @property
    def cost_told(self) -> str:
        return readable(self.cost)


@dataclass(frozen=True, slots=True)
class Busy:
    """A tenant and its day."""

    tenant_id: int
    tenant: str
    requests: int
    tokens: int
    cost_told: str


@dataclass(frozen=True, slots=True)
class Live:
    """What windows count now."""

    today: Counters
    month: Counters
    busiest: Sequence[Busy]


@dataclass(frozen=True, slots=True)
class Rates:
    """What the roll-ups know of a period."""

    requests: int
    errors: int
    latency: Between | None
    ttft: Between | None

    @property
    def error_rate(self) -> str:
        return share(self.errors, self.requests) if self.requests else "none yet"


@dataclass(frozen=True, slots=True)
class Refused:
    """A tenant's refusals with one code within a day."""

    tenant_id: int
    tenant: str
    code: str
    refusals: int
    latest: datetime


def live(look: Look) -> Live:
    """What windows count now, and the tenants with the most tokens today."""
    rows = look.rows(_LIVE, busiest=BUSIEST)
    if not rows:
        nothing = Counters(0, 0, Decimal(0))
        return Live(nothing, nothing, ())
    sums = rows[0][5:]
    return Live(
        Counters(*sums[:3]),
        Counters(*sums[3:]),
        [Busy(pk, slug, n, tokens, readable(cost)) for pk, slug, n, tokens, cost, *_ in rows if n],
    )


def rates(look: Look) -> tuple[Rates, Rates]:
    """Of today and of this month; 95 of 100 were within the latency and the time to first token."""
    return _rates(look, _TODAY), _rates(look, _MONTH)


def _rates(look: Look, statement: str) -> Rates:
    ((requests, errors, latency, ttft),) = look.rows(statement)
    return Rates(requests, errors, percentile(latency, 95), percentile(ttft, 95))


def refusals(look: Look) -> tuple[int, int]:
    """Those of today and of this month."""
    ((today, month),) = look.rows(_REFUSALS)
    return today, month


def refused(look: Look, most: int) -> list[Refused]:
    """The most frequent refusals of the last 24 hours."""
    return [Refused(*row) for row in look.rows(_REFUSED, most=most)]


# A window is found from its end of the index, which only the order by key and team leads to where
# these are NULL; those of days that have not begun are made ahead.
def _window(period: str) -> str:
    return f"""
LEFT JOIN LATERAL (
    SELECT w.* FROM usage_app_usagewindow w
    WHERE w.tenant_id = t.id AND w.api_key_id IS NULL AND w.team_id IS NULL
        AND w.period = '{period}'
        AND w.starts_at <= %(now)s
    ORDER BY w.api_key_id DESC, w.team_id DESC, w.starts_at DESC LIMIT 1
) {period} ON {period}.ends_at > %(now)s
"""


_SUMS = ", ".join(
    f"coalesce(sum({period}.{name}) OVER (), 0)::{kind}"
    for period in ("day", "month")
    for name, kind in (("requests", "bigint"), ("tokens", "bigint"), ("cost", "numeric"))
)
_LIVE = f"""
SELECT t.id, t.slug, day.requests, day.tokens, day.cost, {_SUMS}
FROM tenants_app_tenant t {_window("day")} {_window("month")}
WHERE {SEEN} ORDER BY day.tokens DESC NULLS LAST, day.requests DESC, t.slug LIMIT %(busiest)s
"""

_LOCAL = "(%(now)s::timestamptz AT TIME ZONE t.timezone)"
# OFFSET 0: a look into the index for each tenant. The planner would rather read years of rows.
_TODAY = f"""
SELECT coalesce(sum(r.requests), 0)::bigint, coalesce(sum(r.errors), 0)::bigint, {HISTOGRAM_SUMS}
FROM tenants_app_tenant t
JOIN LATERAL (
    SELECT * FROM usage_app_dailyusage r
    WHERE r.tenant_id = t.id AND r.day = {_LOCAL}::date OFFSET 0
) r ON true
WHERE {SEEN}
"""
_MONTH = f"""
SELECT coalesce(sum(r.requests), 0)::bigint, coalesce(sum(r.errors), 0)::bigint, {HISTOGRAM_SUMS}
FROM tenants_app_tenant t
JOIN LATERAL (
    SELECT * FROM usage_app_monthlyusage r
    WHERE r.tenant_id = t.id AND r.month = date_trunc('month', {_LOCAL})::date OFFSET 0
) r ON true
WHERE {SEEN}
"""

# Where the month is still the last one, it began up to a month and a day ago.
_REFUSALS = f"""
SELECT coalesce(sum(n.refusals) FILTER (WHERE n.hour >= t.today), 0)::bigint,
    coalesce(sum(n.refusals) FILTER (WHERE n.hour >= t.month), 0)::bigint
FROM (
    SELECT t.id, date_trunc('day', {_LOCAL}) AT TIME ZONE t.timezone AS today,
        date_trunc('month', {_LOCAL}) AT TIME ZONE t.timezone AS month
    FROM tenants_app_tenant t WHERE {SEEN} OFFSET 0
) t
JOIN usage_app_refusalcount n ON n.tenant_id = t.id
WHERE n.hour <= %(now)s AND n.hour >= %(now)s::timestamptz - interval '32 days'
"""
_REFUSED = f"""
SELECT t.id, t.slug, n.code, sum(n.refusals)::bigint AS refusals, max(n.hour)
FROM usage_app_refusalcount n JOIN tenants_app_tenant t ON t.id = n.tenant_id
WHERE n.hour > %(now)s::timestamptz - interval '24 hours' AND n.hour <= %(now)s AND {SEEN}
GROUP BY t.id, t.slug, n.code ORDER BY refusals DESC, t.slug, n.code LIMIT %(most)s
"""
