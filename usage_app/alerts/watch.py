"""Finds the percentages of budgets that were crossed, and notes each once per window.

What counts is what was used, not what is held: holds are ceilings, most of which come back, and an
alert that was true for a second cannot be taken back. The database keeps an alert from being made
twice, whatever runs at once or crashed; one transaction makes it and what is to be sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from tenants_app.raises import limit_at

# What was crossed in a window's last minutes is told after its end, too.
GRACE: Final = "15 minutes"

# From each budget the index leads to its few windows of the last month: no scan of old windows.
_WINDOWS: Final = """
    SELECT starts_at, ends_at, requests, tokens, cost FROM usage_app_usagewindow
    WHERE tenant_id = budget.tenant_id AND api_key_id {scope} AND period = budget.period
        AND starts_at > now() - interval '32 days' AND starts_at <= now()
        AND ends_at > now() - %(grace)s::interval
"""
_TENANTS_OWN: Final = (
    "IS NULL AND team_id IS NULL AND budget.api_key_id IS NULL AND budget.team_id IS NULL"
)
# A window that is over is compared with the limit that it ended with.
_MOMENT: Final = "least(now(), live.ends_at - interval '1 microsecond')"
# Ordered, so that two at once wait for each other and never meet in the middle; who comes second
# finds all of a window's alerts made.
NOTE: Final = f"""
WITH crossed AS (
    SELECT DISTINCT budget.id AS budget_id, budget.tenant_id, budget.team_id, budget.api_key_id,
        budget.metric, budget.period, live.starts_at, live.ends_at, percent, live.used,
        allowed."limit"
    FROM tenants_app_budget AS budget
    CROSS JOIN LATERAL (
        SELECT starts_at, ends_at, CASE budget.metric
            WHEN 'requests' THEN requests WHEN 'tokens' THEN tokens ELSE cost END AS used
        FROM (
            {_WINDOWS.format(scope="= budget.api_key_id AND team_id IS NULL")}
            UNION ALL
            {_WINDOWS.format(scope="IS NULL AND team_id = budget.team_id")}
            UNION ALL
            {_WINDOWS.format(scope=_TENANTS_OWN)}
        ) AS its_windows
    ) AS live
    CROSS JOIN LATERAL (SELECT {limit_at(_MOMENT)} AS "limit") AS allowed
    CROSS JOIN LATERAL unnest(budget.alert_percents) AS percent
    WHERE budget.period IN ('day', 'month') AND live.used * 100 >= allowed."limit" * percent
), fresh AS (
    SELECT *, max(percent) OVER (PARTITION BY budget_id, starts_at) AS told_percent FROM crossed
    WHERE NOT EXISTS (
        SELECT FROM usage_app_alert AS alert
        WHERE (alert.budget_id, alert.metric, alert.period, alert.starts_at, alert.percent)
            = (crossed.budget_id, crossed.metric, crossed.period, crossed.starts_at,
               crossed.percent)
    )
)
INSERT INTO usage_app_alert (id, budget_id, tenant_id, team_id, api_key_id, metric, period,
    starts_at, ends_at, percent, used, "limit", told_percent)
SELECT gen_random_uuid(), budget_id, tenant_id, team_id, api_key_id, metric, period, starts_at,
    ends_at, percent, used, "limit", told_percent
FROM fresh ORDER BY budget_id, starts_at, percent
ON CONFLICT DO NOTHING
RETURNING id, percent = told_percent
"""
ADDRESS: Final = """
INSERT INTO usage_app_alertdelivery (id, alert_id, channel, target, state, attempts, last_error)
SELECT gen_random_uuid(), alert.id, address.channel, address.target, 'pending', 0, ''
FROM usage_app_alert AS alert
JOIN tenants_app_alerttargets AS targets USING (tenant_id)
CROSS JOIN LATERAL (
    SELECT 'email', email FROM unnest(targets.emails) AS email
    UNION SELECT 'webhook', targets.webhook_url WHERE targets.webhook_url <> ''
) AS address (channel, target)
WHERE alert.id = ANY(%(alerts)s)
ON CONFLICT DO NOTHING
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Noted:
    """The alerts that have a message of their own, and the deliveries of these."""

    alerts: tuple[UUID, ...] = ()
    deliveries: tuple[UUID, ...] = ()


def note_crossed() -> Noted:
    """Note what was crossed and was not noted before, with its deliveries.

    Of several percentages that are crossed at once the highest has a message; the others have
    their rows, so that they are never told later.
    """
    with transaction.atomic():
        rows = _rows(NOTE, grace=GRACE)
        told = tuple(pk for pk, is_told in rows if is_told)
        return Noted(told, address(told))


def address(alerts: Sequence[UUID]) -> tuple[UUID, ...]:
    """Make a delivery to each of the tenant's addresses that has none of the alert yet."""
    return tuple(pk for (pk,) in _rows(ADDRESS, alerts=list(alerts))) if alerts else ()


def _rows(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
