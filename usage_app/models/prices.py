"""The price book: what models cost, and what tenants pay on top. Prices are superseded by later
ones; the ledger keeps which one an entry was charged at.
"""

from django.db import models
from django.db.models import Q

from tenants_app.models import Model, Tenant
from tenants_app.models.querysets import TenantOwned


class Price(models.Model):
    """What 1 000 000 tokens of a model cost from an instant on, in the ledger currency. Superseded,
    never edited once used.
    """

    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="prices")
    valid_from = models.DateTimeField()
    input = models.DecimalField(max_digits=14, decimal_places=4)
    cached_input = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    cache_write = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    output = models.DecimalField(max_digits=14, decimal_places=4)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("model", "-valid_from")
        constraints = (
            models.UniqueConstraint(
                fields=["model", "valid_from"], name="price_is_one_per_model_and_start"
            ),
            models.CheckConstraint(
                condition=Q(input__gte=0)
                & Q(output__gte=0)
                & (Q(cached_input__isnull=True) | Q(cached_input__gte=0))
                & (Q(cache_write__isnull=True) | Q(cache_write__gte=0)),
                name="price_not_negative",
            ),
        )

    def __str__(self) -> str:
        return f"{self.model} from {self.valid_from:%Y-%m-%d}"


class Margin(models.Model):
    """What a tenant pays on top of the cost, in percent, from one of its calendar days on.

    A day has one margin, so that sums of days can be priced exactly.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="margins")
    valid_from = models.DateField(help_text="The tenant's calendar day.")
    percent = models.DecimalField(max_digits=8, decimal_places=4)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ("tenant", "-valid_from")
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "valid_from"], name="margin_is_one_per_tenant_and_start"
            ),
            models.CheckConstraint(
                condition=Q(percent__gte=-100), name="margin_takes_no_more_than_all"
            ),
        )

    def __str__(self) -> str:
        return f"{self.percent.normalize():f} % from {self.valid_from}"
