"""The querysets of tenant-owned rows; it knows no table."""

from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from tenants_app.models.tenants import Tenant


class TenantOwned(models.QuerySet[Any]):
    """Rows that belong to a tenant; every query of a tenant's data starts at `for_tenant`."""

    def for_tenant(self, tenant: "Tenant | int") -> Self:
        """The tenant's own rows."""
        return self.filter(tenant=tenant)


class Shareable(TenantOwned):
    """Rows that belong to a tenant, or to all when their tenant is null."""

    def shared(self) -> Self:
        """The rows of all tenants."""
        return self.filter(tenant=None)

    def usable_by(self, tenant: "Tenant | int") -> Self:
        """The tenant's own rows and the shared ones."""
        return self.filter(Q(tenant=tenant) | Q(tenant=None))
