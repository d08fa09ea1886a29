"""Limits on what a tenant, a team or a key may use; what was used is counted in usage_app."""

from collections.abc import Iterable
from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Func, Q

from tenants_app.models.keys import ApiKey
from tenants_app.models.querysets import TenantOwned
from tenants_app.models.teams import Team
from tenants_app.models.tenants import Tenant

LIMIT_MAX = Decimal(10**12)
MOST_PERCENTS = 10


def default_percents() -> list[int]:
    """Where a budget's alerts are until somebody says otherwise."""
    return [80, 95, 100]


def sorted_percents(values: Iterable[int]) -> list[int]:
    """The percents of a budget's alerts, each once and in order. Raises ValidationError."""
    percents = sorted(set(values))
    if len(percents) > MOST_PERCENTS:
        raise ValidationError(f"These are more than {MOST_PERCENTS} percents.")
    if percents and not (percents[0] >= 1 and percents[-1] <= 100):
        raise ValidationError("A percent is a whole number from 1 to 100.")
    return percents


class Budget(models.Model):
    """A limit on what a tenant, or one of its teams or keys, may use in a period."""

    class Metric(models.TextChoices):
        REQUESTS = "requests"
        TOKENS = "tokens"
        COST = "cost"

    class Period(models.TextChoices):
        CONCURRENT = "concurrent", "At the same time"
        MINUTE = "minute"
        DAY = "day"
        MONTH = "month"

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="budgets")
    api_key = models.ForeignKey(
        ApiKey, models.CASCADE, null=True, blank=True, related_name="budgets"
    )
    team = models.ForeignKey(Team, models.CASCADE, null=True, blank=True, related_name="budgets")
    metric = models.CharField(max_length=16, choices=Metric)
    period = models.CharField(max_length=16, choices=Period)
    limit = models.DecimalField(
        max_digits=24, decimal_places=10, validators=[MaxValueValidator(LIMIT_MAX)]
    )
    burst = models.BigIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(LIMIT_MAX)]
    )
    # Of a day's or a month's limit; of the other periods nothing is told.
    alert_percents = ArrayField(
        models.PositiveSmallIntegerField(), default=default_percents, blank=True
    )

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ["tenant", "team", "api_key", "metric", "period"]
        constraints = [
            models.UniqueConstraint(
                name="budget_once_per_scope_metric_and_period",
                fields=["tenant", "team", "api_key", "metric", "period"],
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="budget_is_of_a_team_or_of_a_key", condition=Q(team=None) | Q(api_key=None)
            ),
            models.CheckConstraint(
                name="budget_limit_is_positive", condition=Q(limit__gt=0, limit__lte=LIMIT_MAX)
            ),
            models.CheckConstraint(
                name="budget_limit_is_whole_unless_cost",
                condition=Q(metric="cost") | Q(limit=Func(F("limit"), function="trunc")),
            ),
            models.CheckConstraint(
                name="budget_metric_suits_its_period",
                condition=Q(period="concurrent", metric="requests")
                | Q(period="minute", metric__in=["requests", "tokens"])
                | Q(period__in=["day", "month"], metric__in=["requests", "tokens", "cost"]),
            ),
            models.CheckConstraint(
                name="budget_burst_only_per_minute",
                condition=Q(burst=None)
                | Q(period="minute", burst__gte=1, burst__lte=int(LIMIT_MAX)),
            ),
            models.CheckConstraint(
                name="budget_alerts_are_percents",
                condition=Q(
                    alert_percents__contained_by=list(range(1, 101)),
                    alert_percents__len__lte=MOST_PERCENTS,
                ),
            ),
            # What the composite foreign key of raises points at.
            models.UniqueConstraint(name="budget_belongs_to_one_tenant", fields=["id", "tenant"]),
        ]

    def __str__(self) -> str:
        return f"{self.limit.normalize():f} {self.metric} per {self.period}"

    def clean(self) -> None:
        if self.api_key and self.api_key.tenant_id != self.tenant_id:
            raise ValidationError({"api_key": "This key is another tenant's."})
        if self.team and self.team.tenant_id != self.tenant_id:
            raise ValidationError({"team": "This team is another tenant's."})
