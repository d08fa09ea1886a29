"""The statement behind the staff's usage report: `usage_sql.usage`, filtered, with the refusals of
the same days beside it and with names. Text only; it adds nothing up anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from usage_app import usage_sql
from usage_app.reports.query import GROUPS, ReportQuery

_COLUMNS = ("day", "tenant_id", "cost_center", "team_id", "api_key_id", "model")
# The sum of a report has the lines by tenant: few, of which also the refusals are known.
TOTAL_BY = ("tenant_id",)
_NO_REFUSALS = "NULL::bigint"


def lines(
    query: ReportQuery,
    *,
    groups: Sequence[str] = (),
    page: bool = False,
    histograms: bool = True,
) -> str:
    """A statement for the lines of a report, the dearest first, days in their order; `groups` are
    the query's own unless told. With `page` it takes `limit` and `offset`, and counts all lines.
    Without `histograms`, which make many rows several times dearer, no latency is known.

    Each row is what `report_lines.Line.of` reads.
    """
    groups = groups or GROUPS[query.group_by]
    # What a filter holds to one value may be grouped by without making lines of it.
    filters = _filters(query)
    within = tuple(dict.fromkeys([*groups, *filters]))
    usage = usage_sql.usage(within, whose=_whose(query), histograms=histograms)
    where = " AND ".join(filters.values()) or "true"
    sums = ", ".join(f"coalesce(u.{name}, 0) AS {name}" for name in usage_sql.SUMS)
    joined, refusals = "", _NO_REFUSALS
    if query.knows_refusals and not {"model", "cost_center"} & set(groups):
        on = " AND ".join(f"{_not_null('u', name)} = {_not_null('f', name)}" for name in groups)
        joined = f"FULL JOIN ({_refusals(query, groups)}) f ON {on}"
        refusals = "coalesce(f.refusals, 0)"
    either = ", ".join(_column(name, groups, joined=bool(joined)) for name in _COLUMNS)
    latencies = ("latency_histogram", "ttft_histogram")
    kept = ", ".join(f"{'u.' if histograms else 'NULL AS '}{name}" for name in latencies)
    counted = "count(*) OVER ()" if page else "NULL::bigint"
    return f"""
SELECT x.day, x.tenant_id, t.slug, t.name, x.cost_center, g.id, g.slug, g.name,
    x.api_key_id, k.name, k.prefix, x.model,
    {", ".join(f"x.{name}" for name in usage_sql.SUMS)},
    x.latency_histogram, x.ttft_histogram, x.refusals, {counted}
FROM (
    SELECT {either}, {sums}, {kept}, {refusals} AS refusals
    FROM (SELECT u.* FROM ({usage}) u WHERE {where}) u {joined}
) x
LEFT JOIN tenants_app_tenant t ON t.id = x.tenant_id
LEFT JOIN tenants_app_apikey k ON k.id = x.api_key_id
LEFT JOIN tenants_app_team g ON g.id = coalesce(x.team_id, k.team_id)
ORDER BY x.day, x.price DESC, x.total_tokens DESC, x.requests DESC, x.tenant_id, x.cost_center,
    x.model, x.team_id, x.api_key_id
{"LIMIT %(limit)s OFFSET %(offset)s" if page else ""}
"""


def params(query: ReportQuery, tenant_id: int | None, since: str) -> Mapping[str, Any]:
    """What the statement takes; `since` is the roll-ups' mark, read before."""
    return {
        "since": since,
        "first": query.span.first,
        "last": query.span.last,
        "tenant_id": tenant_id,
        "tenant_ids": None if query.within is None else [*query.within],
        "cost_center": query.cost_center,
        "model": query.model,
        "team_id": query.team_id,
        "key_id": query.key,
    }


def _whose(query: ReportQuery) -> str:
    one = usage_sql.ONE if query.tenant is not None else ""
    return one if query.within is None else f"{one} {usage_sql.SOME}"


def _filters(query: ReportQuery) -> dict[str, str]:
    """Conditions on columns of usage, which Postgres takes down to the roll-ups and entries."""
    found = {}
    if query.cost_center is not None:
        found["cost_center"] = "u.cost_center = %(cost_center)s"
    if query.model is not None:
        found["model"] = "u.model = %(model)s"
    if query.key is not None:
        found["api_key_id"] = _of_key(query, "u")
    if query.team is not None:
        found["team_id"] = _of_team(query, "u")
    return found


def _of_key(query: ReportQuery, table: str) -> str:
    if query.key == 0:
        return f"{table}.api_key_id IS NULL"
    return f"{table}.api_key_id = %(key_id)s"


def _of_team(query: ReportQuery, table: str) -> str:
    return f"{table}.team_id = %(team_id)s" if query.team else f"{table}.team_id IS NULL"


def _refusals(query: ReportQuery, groups: Sequence[str]) -> str:
    """Refusals by tenant, team, key or the tenant's day in which their clock hour began."""
    columns = ", ".join(f"c.{name}" for name in groups)
    tenant = _whose(query).format("n")
    key = "" if query.key is None else f"AND {_of_key(query, 'n')}"
    team = "" if query.team is None else f"AND {_of_team(query, 'c')}"
    # No local day begins or ends more than a day away from the same day in UTC.
    return f"""
SELECT {columns}, sum(c.refusals)::bigint AS refusals FROM (
    SELECT n.tenant_id, k.team_id, n.api_key_id, n.refusals,
        (n.hour AT TIME ZONE z.timezone)::date AS day
    FROM usage_app_refusalcount n JOIN tenants_app_tenant z ON z.id = n.tenant_id
    LEFT JOIN tenants_app_apikey k ON k.id = n.api_key_id
    WHERE n.hour >= %(first)s::date - 1 AND n.hour < %(last)s::date + 2 {tenant} {key}
) c
WHERE c.day BETWEEN %(first)s AND %(last)s {team}
GROUP BY {columns}
"""


def _column(name: str, groups: Sequence[str], *, joined: bool) -> str:
    kinds = {"day": "date"} | dict.fromkeys(("tenant_id", "team_id", "api_key_id"), "bigint")
    if name not in groups:
        return f"NULL::{kinds.get(name, 'text')} AS {name}"
    return f"coalesce(u.{name}, f.{name}) AS {name}" if joined else f"u.{name}"


def _not_null(table: str, name: str) -> str:
    """Calls without a key or a team meet each other, too; no id is 0."""
    may_be_null = name in ("team_id", "api_key_id")
    return f"coalesce({table}.{name}, 0)" if may_be_null else f"{table}.{name}"
