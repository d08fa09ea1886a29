"""Usage for reports, on Django's connection. Whatever it answers equals the sum of the entries at
that moment; see `usage_sql.usage` for how.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from tenants_app.models import Tenant
from usage_app import rollups, usage_sql
from usage_app.figures import Figures, Span


def usage(
    groups: Sequence[str], span: Span, *, tenant: Tenant | None = None
) -> list[tuple[tuple[Any, ...], Figures]]:
    """Usage within the span, of one tenant or of all, added up by `groups` of (tenant_id, day,
    api_key_id, model) and in their order. Two queries, however many rows there are.
    """
    statement = usage_sql.usage(groups, one_tenant=tenant is not None)
    params: dict[str, Any] = {"since": rollups.mark(), "first": span.first, "last": span.last}
    if tenant is not None:
        params["tenant_id"] = tenant.pk
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows = cursor.fetchall()
    return [Figures.split(row, len(groups)) for row in rows]
