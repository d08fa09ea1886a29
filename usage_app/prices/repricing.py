"""Charges requests at the prices that the book has now for when they were made: by corrections, and
never without saying first what it will change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

from django.db.models import Count, F, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce

from tenants_app.models import Tenant
from usage_app import corrections, ledger_corrections
from usage_app.corrections import Why
from usage_app.figures import Span
from usage_app.models import LedgerEntry, Price

State = Literal["differs", "by hand", "no price"]
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which requests: those of these local days, of one tenant and model or of all."""

    span: Span
    tenant: Tenant | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Requests of one tenant and model that were charged at another price than the book has now.

    Only those whose `state` is "differs" are corrected. "by hand": somebody gave their cost, and
    that stays. "no price": the book has none for them, and they stay unpriced.
    """

    tenant: str
    model: str
    state: State
    old_price: Price | None
    price: Price | None
    requests: int
    before: Decimal
    after: Decimal


def differences(scope: Scope) -> list[Difference]:
    """What `reprice` would write, and what it would leave alone; writes nothing."""
    return _summed(_days(scope, ledger_corrections.compare))


def reprice(scope: Scope, why: Why) -> list[Difference]:
    """Correct what differs, a tenant's day in a transaction; answers what that was. Repeated, or
    after a crash, it writes what is still missing. Raises CorrectionRefused without a reason.
    """
    why = why.checked()

    def write(day: dict[str, Any]) -> Rows:
        tenant = day.pop("tenant")

        def locked() -> Rows:
            ledger_corrections.lock(tenant.pk)
            local_day = corrections.day_for(tenant, day["day"])
            return ledger_corrections.reprice({**day, **asdict(why), "local_day": local_day})

        return corrections.in_open_month(locked)

    return _summed(_days(scope, write))


def unpriced(tenant: Tenant, span: Span) -> tuple[int, int]:
    """How many requests of the tenant's days have no price, and their tokens; without those that a
    correction has priced since.
    """
    facts = LedgerEntry.objects.for_tenant(tenant).filter(cost=None)
    requests = facts.filter(kind=LedgerEntry.Kind.USAGE)
    later = facts.filter(corrects=OuterRef("id")).values("corrects")
    since = Subquery(later.annotate(tokens=Sum("total_tokens")).values("tokens"))
    left = (
        requests.filter(local_day__range=(span.first, span.last))
        .annotate(still=F("total_tokens") + Coalesce(since, 0))
        .exclude(still=0)
        .aggregate(requests=Count("id"), tokens=Coalesce(Sum("still"), 0))
    )
    return left["requests"], left["tokens"]


def _days(
    scope: Scope, run: Callable[[dict[str, Any]], Rows]
) -> Iterator[tuple[Tenant, tuple[Any, ...]]]:
    """What `run` says of each day of each tenant."""
    tenants = [scope.tenant] if scope.tenant else Tenant.objects.order_by("slug")
    for tenant in tenants:
        for day in ledger_corrections.days_of(tenant.pk, scope.span):
            group = {"tenant": tenant, "tenant_id": tenant.pk, "day": day, "model": scope.model}
            for row in run(group):
                yield tenant, row


def _summed(rows: Iterable[tuple[Tenant, tuple[Any, ...]]]) -> list[Difference]:
    """Over the days."""
    sums: dict[tuple[Any, ...], tuple[int, Decimal, Decimal]] = {}
    for tenant, (state, model, old_price, price, requests, before, after) in rows:
        group = (tenant.slug, model, state, old_price, price)
        known = sums.get(group, (0, Decimal(0), Decimal(0)))
        sums[group] = (known[0] + requests, known[1] + before, known[2] + after)
    prices = Price.objects.select_related("model").in_bulk(
        {pk for *_, old, new in sums for pk in (old, new) if pk is not None}
    )
    return [
        Difference(slug, model, state, prices.get(old), prices.get(new), *figures)
        for (slug, model, state, old, new), figures in sums.items()
    ]
