"""This month's money by tenant, and what finance has yet to do: months to close, bills that do not
agree. Costs are of the roll-ups; the price with margins is the usage report's to tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Q

from usage_app.amounts import readable
from usage_app.models import ProviderBill
from usage_app.overview.look import SEEN, Look, share
from usage_app.statements import closing
from usage_app.statements.closing import Waiting


@dataclass(frozen=True, slots=True)
class Spent:
    """What a tenant, or all of them, came to this month."""

    requests: int = 0
    tokens: int = 0
    unpriced_tokens: int = 0
    cost: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)
    tenant_id: int | None = None
    tenant: str = ""

    @property
    def cost_told(self) -> str:
        return readable(self.cost)

    @property
    def credit_told(self) -> str:
        return readable(self.credit)

    @property
    def unpriced(self) -> str:
        return share(self.unpriced_tokens, self.tokens)


@dataclass(frozen=True, slots=True)
class Month:
    """The dearest tenants of the month, how many there are, and the sum of all of them."""

    dearest: Sequence[Spent]
    tenants: int
    total: Spent


def by_tenant(look: Look, most: int) -> Month:
    """The dearest first."""
    rows = look.rows(_MONTH, most=most)
    if not rows:
        return Month((), 0, Spent())
    return Month([Spent(*row[:7]) for row in rows], rows[0][7], Spent(*rows[0][8:]))


def to_close(most: int) -> tuple[list[Waiting], bool]:
    """The oldest months that are over and not closed, and whether there are more."""
    found = closing.waiting(most=most + 1)
    return found[:most], len(found) > most


def disagreeing(most: int) -> list[ProviderBill]:
    """The newest bills that have what the books have not, or the other way round."""
    differs: Any = Q(missing_here__gt=0) | Q(missing_there__gt=0) | ~Q(difference=0)
    known = Q(difference__isnull=False) | Q(missing_here__gt=0) | Q(missing_there__gt=0)
    return list(ProviderBill.objects.filter(differs, known).order_by("-last_day", "-id")[:most])


_NAMES = ("requests", "total_tokens", "unpriced_tokens", "cost", "credit")
_SUMS = ", ".join(f"sum(r.{name}) AS {name}" for name in _NAMES)
_TOTALS = ", ".join(f"sum(m.{name}) OVER ()" for name in _NAMES)
_MONTH = f"""
SELECT {", ".join(f"m.{name}" for name in _NAMES)}, m.id, m.slug, count(*) OVER (), {_TOTALS}
FROM (
    SELECT t.id, t.slug, {_SUMS}
    FROM tenants_app_tenant t
    JOIN LATERAL (
        SELECT * FROM usage_app_monthlyusage r WHERE r.tenant_id = t.id
            AND r.month = date_trunc('month', %(now)s::timestamptz AT TIME ZONE t.timezone)::date
        OFFSET 0
    ) r ON true
    WHERE {SEEN} GROUP BY t.id, t.slug
) m ORDER BY m.cost DESC, m.total_tokens DESC, m.slug LIMIT %(most)s
"""
