"""The budgets of days and months that are nearly used up or over, of all tenants, their teams and
their keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tenants_app.raises import limit_at, standing
from usage_app.fills import Counters, Fill, Owner, fills_of
from usage_app.overview.look import SEEN, Look
from usage_app.selectors import limit_row

NEAR_PERCENT: Final = 80


@dataclass(frozen=True, slots=True)
class Full:
    """One such budget: whose it is (without an owner the tenant's as a whole), and how full."""

    tenant_id: int
    tenant: str
    owner: Owner | None
    fill: Fill
    counters: Counters


def nearly_full(look: Look, most: int) -> tuple[Sequence[Full], int]:
    """The fullest first, and how many there are in all. One statement."""
    rows = look.rows(_FULLEST, percent=NEAR_PERCENT, most=most)
    return [_full(look, row[:-1]) for row in rows], rows[0][-1] if rows else 0


def _full(look: Look, row: Sequence[Any]) -> Full:
    tenant_id, tenant, timezone, scope, owner_id, name, metric, period, *rest = row
    limit, raises, *window = rest
    owner = None if owner_id is None else Owner(scope, owner_id, name)
    counters = Counters(look.now, timezone, windows={(scope, period): window}, buckets={})
    limits = [limit_row(metric, period, limit, None, raises)]
    (fill,) = fills_of(scope, limits, counters)
    return Full(tenant_id, tenant, owner, fill, counters)


# Of each scope: which budgets are its, and which windows. Each window is found from its end of the
# index; those of days that have not begun are made ahead.
def _budgets(names: str, owner: str, windows: str) -> str:
    return f"""
SELECT t.id AS tenant_id, t.slug, t.timezone, {names}, b.metric, b.period, b."limit",
    {standing("b")}::text AS raises,
    w.requests, w.tokens, w.cost, w.held_requests, w.held_tokens, w.held_cost,
    CASE b.metric WHEN 'requests' THEN w.requests + w.held_requests
        WHEN 'tokens' THEN w.tokens + w.held_tokens ELSE w.cost + w.held_cost END
        / {limit_at("%(now)s::timestamptz", "b")} AS share
FROM tenants_app_budget b JOIN tenants_app_tenant t ON t.id = b.tenant_id {owner}
JOIN LATERAL (
    SELECT * FROM usage_app_usagewindow w
    WHERE w.tenant_id = b.tenant_id AND {windows} AND w.period = b.period
        AND w.starts_at <= %(now)s
    ORDER BY w.api_key_id DESC, w.team_id DESC, w.starts_at DESC LIMIT 1
) w ON w.ends_at > %(now)s
WHERE b.period IN ('day', 'month') AND {SEEN}
"""


_OF_TENANTS = _budgets(
    "'tenant' AS scope, NULL::bigint AS owner_id, NULL AS name",
    "AND b.api_key_id IS NULL AND b.team_id IS NULL",
    "w.api_key_id IS NULL AND w.team_id IS NULL",
)
_OF_TEAMS = _budgets(
    "'team' AS scope, g.id AS owner_id, g.slug AS name",
    "JOIN tenants_app_team g ON g.id = b.team_id",
    "w.api_key_id IS NULL AND w.team_id = b.team_id",
)
_OF_KEYS = _budgets(
    "'key' AS scope, k.id AS owner_id, k.name AS name",
    "JOIN tenants_app_apikey k ON k.id = b.api_key_id AND k.revoked_at IS NULL",
    "w.api_key_id = b.api_key_id AND w.team_id IS NULL",
)
_FULLEST = f"""
SELECT tenant_id, slug, timezone, scope, owner_id, name, metric, period, "limit",
    raises, requests, tokens, cost, held_requests, held_tokens, held_cost, count(*) OVER ()
FROM ({_OF_TENANTS} UNION ALL {_OF_TEAMS} UNION ALL {_OF_KEYS}) b WHERE share * 100 >= %(percent)s
ORDER BY share DESC, slug, scope DESC, owner_id, period LIMIT %(most)s
"""
