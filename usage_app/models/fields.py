"""What the tables of the books share."""

from typing import Any, Self

from django.db import models

from tenants_app.models import Tenant

MONEY: dict[str, Any] = {"max_digits": 24, "decimal_places": 10}


class TenantOwned(models.QuerySet[Any]):
    """Rows of tenants; reach them through `for_tenant`."""

    def for_tenant(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)
