"""Raises of budgets: given and cancelled here, and the SQL that reads them. Whether one is in force
is asked of the clock each time: nothing has to happen when it ends.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models.functions import Now

from tenants_app.models import Budget, BudgetRaise


def standing(budget: str = "budget") -> str:
    """SQL: `[from, until, extra]` of each raise of the row `budget` that is not cancelled, as JSON.
    Those of the last two days too, under which requests that are still open may have been admitted.
    """
    return f"""
    (SELECT jsonb_agg(jsonb_build_array(starts_at, ends_at, extra::text) ORDER BY starts_at, id)
     FROM tenants_app_budgetraise WHERE budget_id = {budget}.id AND cancelled_at IS NULL
     AND ends_at > now() - interval '2 days')"""


def limit_at(moment: str, budget: str = "budget") -> str:
    """SQL: the limit of the row `budget`, with the raises that are in force at a moment."""
    return f"""({budget}."limit" + coalesce((
        SELECT sum(extra) FROM tenants_app_budgetraise
        WHERE budget_id = {budget}.id AND cancelled_at IS NULL
            AND starts_at <= {moment} AND ends_at > {moment}), 0))"""


@dataclass(frozen=True, slots=True)
class Terms:
    """How much more, why, and from when (None: now) until when."""

    extra: Decimal | int
    reason: str
    ends_at: datetime
    starts_at: datetime | None = None


def give(budget: Budget, terms: Terms, *, by: str) -> BudgetRaise:
    """Raise a budget; the next request within its time has it. Raises IntegrityError when that
    makes no sense.
    """
    given = BudgetRaise(
        tenant_id=budget.tenant_id,
        budget=budget,
        extra=terms.extra,
        reason=terms.reason.strip(),
        ends_at=terms.ends_at,
        created_by=by,
    )
    if terms.starts_at is not None:
        given.starts_at = terms.starts_at
    given.save(force_insert=True)
    return given


def cancel(given: BudgetRaise, *, by: str) -> bool:
    """End it from the next request on; whether this did. What was admitted under it goes on."""
    rows = BudgetRaise.objects.filter(pk=given.pk, cancelled_at=None, ends_at__gt=Now())
    return bool(rows.update(cancelled_at=Now(), cancelled_by=by))
