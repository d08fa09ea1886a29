"""Whether the books agree, which holds are open, and what was closed last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Min

from usage_app.models import Reconciliation, Reservation, Statement
from usage_app.overview.look import Look

# They are compared every night.
STALE: Final = timedelta(hours=30)
# No request lasts that long: nobody settles its hold, and the sweep does not run.
TOO_OLD: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Compared:
    """The last comparison of all tenants' books that came to its end, and whether it is stale."""

    run: Reconciliation | None
    is_stale: bool

    @property
    def drifts(self) -> int:
        return self.run.drifts if self.run else 0


@dataclass(frozen=True, slots=True)
class Holds:
    """Those of requests under way."""

    count: int
    oldest: datetime | None
    is_too_old: bool


def compared(look: Look) -> Compared:
    """Of all tenants; one of a single tenant says nothing of the others."""
    whole = Reconciliation.objects.filter(tenant=None, finished_at__isnull=False)
    run = whole.order_by("-started_at").first()
    return Compared(run, is_stale=run is None or run.started_at < look.now - STALE)


def holds(look: Look) -> Holds:
    """How many are open, and since when the oldest is."""
    rows = Reservation.objects.all()
    if look.within is not None:
        rows = rows.filter(tenant__in=look.within)
    found = rows.aggregate(count=Count("id"), oldest=Min("created_at"))
    oldest = found["oldest"]
    return Holds(found["count"], oldest, oldest is not None and oldest < look.now - TOO_OLD)


def closed(look: Look, most: int) -> Sequence[Statement]:
    """The newest statements."""
    rows = Statement.objects.order_by("-closed_at", "-id")
    if look.within is not None:
        rows = rows.filter(tenant__in=look.within)
    return list(rows[:most])
