"""Which months of a tenant are closed. `usage_app.closing` closes them."""

from datetime import date

from tenants_app.models import Tenant
from usage_app.models import Statement


def is_closed(tenant: Tenant, day: date) -> bool:
    """Whether nothing with this local day may be written any more: there is a statement of its
    month, or of a later one. The database refuses it then, too.
    """
    month = day.replace(day=1)
    return bool(Statement.objects.for_tenant(tenant).filter(month__gte=month).exists())


def last_closed(tenant: Tenant) -> Statement | None:
    """The newest statement: the end of the tenant's chain."""
    return Statement.objects.for_tenant(tenant).order_by("-month").first()
