"""Counts and sums made from the ledger for reports: re-made whole by tasks, never edited, never the
truth.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from tenants_app.models import ApiKey, Tenant
from tenants_app.models.querysets import TenantOwned
from usage_app.models.fields import MONEY


class RefusalCount(models.Model):
    """How often a key was refused with one error code in one hour, so that an operator can say why
    it gets 429s.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.CASCADE, related_name="+")
    hour = models.DateTimeField()
    code = models.CharField(max_length=40)
    refusals = models.BigIntegerField()

    objects = TenantOwned.as_manager()

    class Meta:
        indexes = (models.Index(fields=["hour"], name="refusals_hour"),)
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "api_key", "hour", "code"],
                nulls_distinct=False,
                name="refusals_are_one_row_per_hour_and_code",
            ),
        )

    def __str__(self) -> str:
        return f"{self.refusals} x {self.code}"


class UsageRollup(models.Model):
    """Sums of ledger entries of one tenant, cost centre, key and model over one period; re-made
    whole from the entries, never edited.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="+")
    cost_center = models.CharField(max_length=100, blank=True, db_default="")
    model = models.CharField(max_length=200)
    requests = models.BigIntegerField()
    errors = models.BigIntegerField()
    aborted = models.BigIntegerField()
    expired = models.BigIntegerField()
    attempts = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    total_tokens = models.BigIntegerField()
    estimated_tokens = models.BigIntegerField(help_text="Of the total, not reported by a provider.")
    unpriced_tokens = models.BigIntegerField(help_text="Of the total, without a known price.")
    unpriced_requests = models.BigIntegerField()
    cost = models.DecimalField(**MONEY)
    credit = models.DecimalField(**MONEY, db_default=0)
    latency_histogram = ArrayField(models.BigIntegerField())
    ttft_histogram = ArrayField(models.BigIntegerField())

    objects = TenantOwned.as_manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.model}: {self.total_tokens} tokens"


class HourlyUsage(UsageRollup):
    hour = models.DateTimeField(help_text="UTC; a roll-up by clock hour of the admission.")

    class Meta:
        verbose_name_plural = "hourly usage"
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "hour", "cost_center", "api_key", "model"],
                nulls_distinct=False,
                name="hourly_usage_is_one_row_per_group",
            ),
        )


class DailyUsage(UsageRollup):
    day = models.DateField(help_text="The tenant's calendar day.")

    class Meta:
        verbose_name_plural = "daily usage"
        indexes = (models.Index(fields=["day"], name="daily_usage_day"),)
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "day", "cost_center", "api_key", "model"],
                nulls_distinct=False,
                name="daily_usage_is_one_row_per_group",
            ),
        )


class MonthlyUsage(UsageRollup):
    month = models.DateField(help_text="The first day of the tenant's calendar month.")

    class Meta:
        verbose_name_plural = "monthly usage"
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "month", "cost_center", "api_key", "model"],
                nulls_distinct=False,
                name="monthly_usage_is_one_row_per_group",
            ),
        )


class RollupMark(models.Model):
    """One row: everything that was settled before this instant is in the roll-ups. Reports read
    what came later from the entries.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    settled_before = models.DateTimeField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="rollup_mark_is_one_row"),)

    def __str__(self) -> str:
        return f"rolled up to {self.settled_before:%Y-%m-%d %H:%M:%S}"
