"""Usage reports for finance's tools: what `selectors` reads for the page, async and on the pool."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenants_app.database import retried
from tenants_app.errors import InvalidRequest
from usage_app import usage_sql
from usage_app.reports import sql as report_sql
from usage_app.reports.lines import Line, sum_of
from usage_app.reports.query import GROUPS, NO_TEAM, ReportQuery

_TEAM = "SELECT id FROM tenants_app_team WHERE tenant_id = %s AND slug = %s"


@dataclass(frozen=True, slots=True)
class StaffReport:
    """Some lines of a report, how many there are in all, and the sum of all."""

    lines: Sequence[Line]
    count: int
    total: Line


async def read(query: ReportQuery, *, limit: int, page: int) -> StaffReport:
    """A page of the report and its sum, both as of one moment.

    Raises InvalidRequest for a tenant or a team that there is not.
    """

    async def work(connection: Any) -> StaffReport:
        async with connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return await _read(connection, query, limit=limit, offset=(page - 1) * limit)

    return await retried(work)


async def _read(connection: Any, query: ReportQuery, *, limit: int, offset: int) -> StaffReport:
    async def rows_of(statement: str, params: Any = None) -> list[Any]:
        # Prepared, it would be planned without knowing how few entries are younger than the mark.
        cursor = await connection.execute(statement, params, prepare=False)
        rows: list[Any] = await cursor.fetchall()
        return rows

    tenant_id = None
    if query.tenant is not None:
        found = await rows_of("SELECT id FROM tenants_app_tenant WHERE slug = %s", [query.tenant])
        if not found or (query.within is not None and found[0][0] not in query.within):
            raise InvalidRequest.fields({"tenant": "There is no such tenant."})
        ((tenant_id,),) = found
    if query.team:
        found = await rows_of(_TEAM, [tenant_id, query.team])
        if not found:
            raise InvalidRequest.fields({"team": NO_TEAM})
        query = replace(query, team_id=found[0][0])
    ((since,),) = await rows_of(usage_sql.MARK)
    params = {**report_sql.params(query, tenant_id, since), "limit": limit, "offset": offset}
    total = await rows_of(report_sql.lines(query, groups=report_sql.TOTAL_BY), params)
    lines = await rows_of(report_sql.lines(query, page=True), params)
    groups = GROUPS[query.group_by]
    return StaffReport(
        [Line.of(row, groups) for row in lines],
        lines[0][-1] if lines else 0,
        sum_of(Line.of(row, report_sql.TOTAL_BY) for row in total),
    )
