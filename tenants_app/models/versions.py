"""The configuration's version, by which cached snapshots are known to be current."""

from django.db import models

from tenants_app.models.tenants import Tenant


class ConfigurationVersion(models.Model):
    """How often a tenant's configuration changed; the row without tenant is for the shared tables.

    Only the trigger `tollgate_bump_version()` writes it. A missing row counts as version 0.
    """

    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    version = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="version_once_per_tenant", fields=["tenant"], nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id or 'shared'}: {self.version}"
