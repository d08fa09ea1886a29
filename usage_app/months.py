"""Which months of a tenant are closed. `usage_app.statements.closing` closes them."""

from datetime import date

from tenants_app.models import Tenant
from usage_app.models import LedgerEntry, Statement
from usage_app.periods import next_month


def is_closed(tenant: Tenant, day: date) -> bool:
    """Whether nothing with this local day may be written any more: there is a statement of its
    month, or of a later one. The database refuses it then, too.
    """
    month = day.replace(day=1)
    return bool(Statement.objects.for_tenant(tenant).filter(month__gte=month).exists())


def last_closed(tenant: Tenant) -> Statement | None:
    """The newest statement: the end of the tenant's chain."""
    return Statement.objects.for_tenant(tenant).order_by("-month").first()


def entries_are_gone(tenant: Tenant | int, day: date) -> bool:
    """Whether entries of this closed month were detached: what was made of them must be left alone.
    Counts the month's entries, if it is closed.
    """
    month = day.replace(day=1)
    statement = Statement.objects.for_tenant(tenant).filter(month=month).first()
    if statement is None:
        return False
    entries = LedgerEntry.objects.for_tenant(tenant)
    left = entries.filter(local_day__gte=month, local_day__lt=next_month(month)).count()
    return bool(left != statement.entries)
