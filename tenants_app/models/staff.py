"""Which tenants a member of staff is held to; `tenants_app.staff` reads and writes it."""

from django.conf import settings
from django.db import models

from tenants_app.models.tenants import Tenant


class StaffScope(models.Model):
    """The only tenants that somebody sees. An empty one shows nothing: it never means all."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="staff_scope"
    )
    tenants: "models.ManyToManyField[Tenant, models.Model]" = models.ManyToManyField(
        Tenant, blank=True, related_name="+"
    )

    class Meta:
        ordering = ["user"]
        permissions = [("within_tenants", "Is held to the tenants given, and sees none without")]

    def __str__(self) -> str:
        return f"tenants of user #{self.user_id}"
