"""What pages ask of the books, on Django's connection: usage for reports, and what the books have
frozen.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from tenants_app.models import Tenant
from usage_app import rollups, usage_sql
from usage_app.figures import Figures, Span
from usage_app.models import LedgerEntry, Price, Reservation, UsageWindow


def usage(
    groups: Sequence[str], span: Span, *, tenant: Tenant | None = None
) -> list[tuple[tuple[Any, ...], Figures]]:
    """Usage within the span, of one tenant or of all, added up by `groups` of (tenant_id, day,
    api_key_id, model) and in their order; it equals the sum of the entries at that moment, see
    `usage_sql.usage` for how. Two queries, however many rows there are.
    """
    statement = usage_sql.usage(groups, one_tenant=tenant is not None)
    params: dict[str, Any] = {"since": rollups.mark(), "first": span.first, "last": span.last}
    if tenant is not None:
        params["tenant_id"] = tenant.pk
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows = cursor.fetchall()
    return [Figures.split(row, len(groups)) for row in rows]


def has_usage(tenant: Tenant) -> bool:
    """Whether the books count days for this tenant; its time zone is frozen then."""
    return bool(UsageWindow.objects.for_tenant(tenant).exists())


def is_used(price: Price) -> bool:
    """Whether an entry or a hold was charged at this price; it is frozen then."""
    if Reservation.objects.filter(price=price).exists():
        return True
    entries = LedgerEntry.objects.filter(price=price, created_at__gte=price.valid_from)
    return entries.exists()
