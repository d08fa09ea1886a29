"""Teams: groups of keys inside a tenant, that budgets limit and reports add up together."""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from tenants_app.models.one_line import one_line
from tenants_app.models.querysets import TenantOwned
from tenants_app.models.tenants import SLUG_PATTERN, Tenant


class Team(models.Model):
    """Some of a tenant's keys. A key is of a team from its issue on, and for ever: so whatever
    names a key names its team, and a closed month is grouped as it was.
    """

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="teams")
    slug = models.CharField(max_length=63, validators=[RegexValidator(SLUG_PATTERN)])
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ["tenant", "slug"]
        constraints = [
            one_line("team", "name"),
            models.UniqueConstraint(name="team_slug_once_per_tenant", fields=["tenant", "slug"]),
            models.CheckConstraint(
                name="team_slug_is_plain", condition=Q(slug__regex=SLUG_PATTERN)
            ),
            # What the composite foreign keys of keys and budgets point at.
            models.UniqueConstraint(name="team_belongs_to_one_tenant", fields=["id", "tenant"]),
        ]

    def __str__(self) -> str:
        return self.slug
