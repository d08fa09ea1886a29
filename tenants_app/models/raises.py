"""Raises of budgets: more for a while, with a reason, and less again by itself."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from tenants_app.models.budgets import LIMIT_MAX, Budget
from tenants_app.models.querysets import TenantOwned
from tenants_app.models.tenants import Tenant

REASON_MAX: Final = 500
# A trigger keeps a budget to so many that are not over, so that a limit stays a number that fits.
MOST_RAISES: Final = 20
# Instants that Python and JSON can tell, too.
IN_TIME: Final = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


class BudgetRaise(models.Model):
    """What a budget of a day or month has more, in its own unit, from an instant on until another.

    Triggers see to it that it can be cancelled once and never edited; it goes when its budget does,
    as the budget's row is deleted.
    """

    # The database's own foreign key is over both columns, and cascades.
    tenant = models.ForeignKey(
        Tenant, models.DO_NOTHING, db_constraint=False, related_name="raises"
    )
    budget = models.ForeignKey(
        Budget, models.DO_NOTHING, db_constraint=False, related_name="raises"
    )
    extra = models.DecimalField(
        max_digits=24, decimal_places=10, validators=[MaxValueValidator(LIMIT_MAX)]
    )
    reason = models.CharField(max_length=REASON_MAX)
    starts_at = models.DateTimeField("from", db_default=Now())
    ends_at = models.DateTimeField("until")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.CharField(max_length=150)
    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancelled_by = models.CharField(max_length=150, blank=True, default="")

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "budget raise"
        indexes = [
            models.Index(
                fields=["budget", "ends_at"], condition=Q(cancelled_at=None), name="raise_standing"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="raise_extra_is_positive", condition=Q(extra__gt=0, extra__lte=LIMIT_MAX)
            ),
            models.CheckConstraint(
                name="raise_ends_after_it_begins", condition=Q(ends_at__gt=F("starts_at"))
            ),
            models.CheckConstraint(
                name="raise_is_within_the_calendar",
                condition=Q(starts_at__gte=IN_TIME[0], ends_at__lt=IN_TIME[1]),
            ),
            models.CheckConstraint(
                name="raise_says_why_and_by_whom",
                condition=Q(reason__regex=r"\S", created_by__regex=r"\S"),
            ),
            models.CheckConstraint(
                name="raise_is_cancelled_by_somebody",
                condition=Q(cancelled_at=None, cancelled_by="")
                | Q(cancelled_at__isnull=False, cancelled_by__regex=r"\S"),
            ),
        ]

    def __str__(self) -> str:
        return f"{Decimal(self.extra).normalize():,f} more until {self.ends_at:%Y-%m-%d %H:%M} UTC"
