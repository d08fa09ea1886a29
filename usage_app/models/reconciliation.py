"""What comparing the books with one another found: a row for each run, also when all was well, and
one for each figure that differed.
"""

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import F, Q

from tenants_app.models import ApiKey, Team, Tenant
from tenants_app.models.querysets import TenantOwned

AMOUNT: dict[str, Any] = {"max_digits": 40, "decimal_places": 10}


class Reconciliation(models.Model):
    """One run: what it compared, and how many figures differed."""

    started_at = models.DateTimeField(db_default=models.functions.Now())
    finished_at = models.DateTimeField(null=True, help_text="Empty: under way, or cut off.")
    author = models.CharField(max_length=150, help_text="Who or what asked for it.")
    tenant = models.ForeignKey(
        Tenant, null=True, on_delete=models.CASCADE, related_name="+", help_text="Empty: all."
    )
    first_day = models.DateField(null=True, help_text="Empty: from the first entry on.")
    last_day = models.DateField(null=True, help_text="Empty: to the last entry.")
    tenants = models.BigIntegerField(default=0, help_text="How many were compared.")
    entries = models.BigIntegerField(default=0, help_text="Ledger entries that were added up.")
    rollups = models.BigIntegerField(default=0, help_text="Roll-up rows of hours, days, months.")
    pending = models.BigIntegerField(
        default=0, help_text="Of these, left out: the next roll-up will make them anew."
    )
    windows = models.BigIntegerField(default=0, help_text="Windows compared with the entries.")
    holds = models.BigIntegerField(default=0, help_text="Windows compared with their open holds.")
    drifts = models.BigIntegerField(default=0, help_text="Figures that differed.")

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(last_day__gte=F("first_day"))
                | Q(first_day__isnull=True)
                | Q(last_day__isnull=True),
                name="reconciliation_days_in_order",
            ),
        )

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M:%S}: {self.result}"

    @property
    def result(self) -> str:
        """In two words."""
        if self.drifts:
            return "1 drift" if self.drifts == 1 else f"{self.drifts} drifts"
        return "no drift" if self.finished_at else "not finished"


class Drift(models.Model):
    """One figure of the books that is not what it should be, by a run's snapshot."""

    class Book(models.TextChoices):
        DAYS = "days"
        HOURS = "hours"
        MONTHS = "months"
        DAY_WINDOWS = "day windows"
        MONTH_WINDOWS = "month windows"
        HOLDS = "holds"

    reconciliation = models.ForeignKey(
        Reconciliation, on_delete=models.CASCADE, related_name="found"
    )
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    day = models.DateField(help_text="The tenant's calendar day; of a month its first.")
    book = models.CharField(max_length=20, choices=Book.choices)
    period = models.CharField(max_length=32, help_text="The hour, day, month or window.")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.CASCADE, related_name="+")
    team = models.ForeignKey(Team, null=True, on_delete=models.CASCADE, related_name="+")
    cost_center = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=200, blank=True)
    figure = models.CharField(max_length=40)
    expected = models.DecimalField(**AMOUNT)
    found = models.DecimalField(**AMOUNT)

    objects = TenantOwned.as_manager()

    class Meta:
        verbose_name_plural = "drift"

    def __str__(self) -> str:
        place = ", ".join(filter(None, (self.cost_center, self.model)))
        return f"{self.book} {self.period}{f' ({place})' if place else ''}: {self.figure}"

    @property
    def size(self) -> Decimal:
        """How much too much there is; negative: too little."""
        return self.found - self.expected
