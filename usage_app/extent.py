"""Which days of a tenant the books know anything about."""

from django.db import connection

from tenants_app.models import Tenant
from usage_app.figures import Span

# Wider by a day than the tenant's own calendar may be; empty days cost next to nothing.
_BOUNDS = """
SELECT min(first), max(last) FROM (
    SELECT min(local_day), max(local_day) FROM usage_app_ledgerentry WHERE tenant_id = %(tenant_id)s
    UNION ALL
    SELECT min(day), max(day) FROM usage_app_dailyusage WHERE tenant_id = %(tenant_id)s
    UNION ALL
    SELECT min(month), max(month) FROM usage_app_monthlyusage WHERE tenant_id = %(tenant_id)s
    UNION ALL
    SELECT (min(hour) AT TIME ZONE 'UTC')::date - 1, (max(hour) AT TIME ZONE 'UTC')::date + 1
    FROM usage_app_hourlyusage WHERE tenant_id = %(tenant_id)s
    UNION ALL
    SELECT (min(starts_at) AT TIME ZONE 'UTC')::date, (max(starts_at) AT TIME ZONE 'UTC')::date + 1
    FROM usage_app_usagewindow WHERE tenant_id = %(tenant_id)s AND period <> 'concurrent'
) AS of_each(first, last)
"""


def within(tenant: Tenant, span: Span | None) -> Span | None:
    """The part of a span (None: of all days) in which the tenant may have anything; None for
    none.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BOUNDS, {"tenant_id": tenant.pk})
        first, last = cursor.fetchone()
    if first is None:
        return None
    if span is not None:
        first, last = max(first, span.first), min(last, span.last)
    return Span(first, last) if first <= last else None
