"""The querysets of tenant-owned rows; it knows no table."""

from typing import TYPE_CHECKING, Any, Self

from django.db import models

if TYPE_CHECKING:
    from tenants_app.models.tenants import Tenant


class TenantOwned(models.QuerySet[Any]):
    """Rows that belong to a tenant, or to all where it is null; every query of a tenant's data
    starts at `for_tenant`.
    """

    def for_tenant(self, tenant: "Tenant | int") -> Self:
        """The tenant's own rows, without those that are shared."""
        return self.filter(tenant=tenant)
