"""Closed months: what a tenant was charged, frozen by triggers.
`usage_app.statements.closing` alone writes them.
"""

from django.db import models
from django.db.models import Q

from tenants_app.models import Tenant
from tenants_app.models.querysets import TenantOwned
from usage_app.models.fields import EXACT_PRICE, MONEY

HEX_DIGITS = 64


class Statement(models.Model):
    """One closed month of a tenant. Nothing in it, in a month before it, or in its lines ever
    changes; later facts are corrections in an open month.

    It outlives its entries and says by itself what it needs: names are those of the closing.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    month = models.DateField(help_text="The first day of the tenant's calendar month.")
    tenant_slug = models.CharField(max_length=64)
    tenant_name = models.CharField(max_length=200)
    timezone = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    minor_unit = models.SmallIntegerField(help_text="Decimals to which each line is rounded.")
    entries = models.BigIntegerField()
    line_count = models.IntegerField()
    day_count = models.IntegerField()
    cost = models.DecimalField(**MONEY)
    credit = models.DecimalField(**MONEY)
    price = models.DecimalField(**EXACT_PRICE, help_text="Exact, before any rounding.")
    total = models.DecimalField(
        max_digits=24, decimal_places=4, help_text="The sum of the rounded lines."
    )
    remarks = models.JSONField(default=list, help_text="What was known to be open at the closing.")
    closed_at = models.DateTimeField()
    closed_by = models.CharField(max_length=150)
    previous = models.CharField(
        max_length=HEX_DIGITS, blank=True, help_text="The checksum of the statement before it."
    )
    checksum = models.CharField(max_length=HEX_DIGITS)

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ("-month", "tenant")
        permissions = (("close_month", "Can close a month"),)
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "month"], name="statement_is_one_per_tenant_and_month"
            ),
            models.CheckConstraint(
                condition=Q(month__day=1), name="statement_month_is_its_first_day"
            ),
            models.CheckConstraint(
                condition=Q(checksum__regex=r"^[0-9a-f]{64}$"), name="statement_has_a_checksum"
            ),
        )

    def __str__(self) -> str:
        return f"{self.tenant_slug} {self.month:%Y-%m}"


class StatementLine(models.Model):
    """What one cost centre was charged for one model."""

    statement = models.ForeignKey(Statement, on_delete=models.PROTECT, related_name="lines")
    position = models.IntegerField()
    cost_center = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=200, blank=True, help_text="Empty: credits alone.")
    requests = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    total_tokens = models.BigIntegerField()
    estimated_tokens = models.BigIntegerField()
    unpriced_requests = models.BigIntegerField()
    unpriced_tokens = models.BigIntegerField()
    cost = models.DecimalField(**MONEY)
    credit = models.DecimalField(**MONEY)
    price = models.DecimalField(**EXACT_PRICE)
    amount = models.DecimalField(
        max_digits=24, decimal_places=4, help_text="The price, rounded half to even."
    )

    class Meta:
        ordering = ("statement", "position")
        constraints = (
            models.UniqueConstraint(
                fields=["statement", "position"], name="statement_line_has_its_own_place"
            ),
        )

    def __str__(self) -> str:
        return self.model or "credits"


class StatementDay(models.Model):
    """What one day of a statement came to, and the digest of its entries as they are exported."""

    statement = models.ForeignKey(Statement, on_delete=models.PROTECT, related_name="days")
    day = models.DateField()
    entries = models.BigIntegerField()
    percent = models.DecimalField(max_digits=8, decimal_places=4, help_text="The day's margin.")
    cost = models.DecimalField(**MONEY)
    credit = models.DecimalField(**MONEY)
    digest = models.CharField(max_length=HEX_DIGITS)

    class Meta:
        ordering = ("statement", "day")
        constraints = (
            models.UniqueConstraint(fields=["statement", "day"], name="statement_day_is_once"),
        )

    def __str__(self) -> str:
        return f"{self.day}"
