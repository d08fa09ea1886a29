"""What is going on now, read cheaply: windows, holds and heartbeats, of the ledger only the count
of entries that lie outside every month.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Min, QuerySet, Sum
from django.utils import timezone

from tenants_app.models import Tenant
from usage_app import partitions
from usage_app.ledger_sync import SILENCE
from usage_app.models import GatewayProcess, Reservation, UsageWindow

BUSIEST = 5
# Older rows of processes are of the past and not worth a warning.
FORGOTTEN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Counters:
    """What was used in one period, and what is held."""

    requests: int
    tokens: int
    cost: Decimal
    held_requests: int
    held_tokens: int

    @property
    def cost_told(self) -> str:
        """The cost to read."""
        return money(self.cost)


@dataclass(frozen=True, slots=True)
class Busy:
    """A tenant and its day."""

    tenant: Tenant
    requests: int
    tokens: int
    cost_told: str


@dataclass(frozen=True, slots=True)
class Process:
    """A web process: `alive`, `stopped`, or `stuck` when it fell silent with holds still open."""

    name: str
    started_at: datetime
    heartbeat_at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of things."""

    today: Counters
    month: Counters
    busiest: list[Busy]
    open_holds: int
    oldest_hold: datetime | None
    processes: list[Process] | None
    misplaced_entries: int


def now(within: frozenset[int] | None = None) -> Overview:
    """Today and this month as each tenant's clock has them, and what runs; to those who see some
    tenants only, `within`, these alone.
    """
    moment = timezone.now()
    tenants = Tenant.objects.all() if within is None else Tenant.objects.filter(pk__in=within)
    day = current(UsageWindow.Period.DAY, moment, tenants)
    holds = Reservation.objects.filter(tenant__in=tenants).aggregate(
        count=Count("id"), oldest=Min("created_at")
    )
    return Overview(
        today=counters(day),
        month=counters(current(UsageWindow.Period.MONTH, moment, tenants)),
        busiest=busiest(day),
        open_holds=holds["count"],
        oldest_hold=holds["oldest"],
        processes=processes(moment) if within is None else None,
        misplaced_entries=partitions.rows_in_default() if within is None else 0,
    )


def current(period: str, moment: datetime, tenants: QuerySet[Tenant]) -> QuerySet[UsageWindow]:
    """The tenants' windows of this period that contain the moment."""
    # No period is longer than a month; from each tenant the index leads to its newest windows.
    oldest = moment - timedelta(days=32)
    return UsageWindow.objects.filter(
        tenant__in=tenants,
        api_key=None,
        period=period,
        starts_at__gt=oldest,
        starts_at__lte=moment,
        ends_at__gt=moment,
    )


def counters(windows: QuerySet[UsageWindow]) -> Counters:
    """The windows' sums."""
    names = ("requests", "tokens", "cost", "held_requests", "held_tokens")
    sums: dict[str, Any] = windows.aggregate(**{f"all_{name}": Sum(name) for name in names})
    values: dict[str, Any] = {name: sums[f"all_{name}"] or Decimal(0) for name in names}
    return Counters(**values)


def busiest(windows: QuerySet[UsageWindow]) -> list[Busy]:
    """The tenants with the most tokens in these windows."""
    rows = windows.filter(requests__gt=0).select_related("tenant")
    return [
        Busy(row.tenant, row.requests, row.tokens, money(row.cost))
        for row in rows.order_by("-tokens", "tenant")[:BUSIEST]
    ]


def money(amount: Decimal | None) -> str:
    """An amount to read: exact below a unit, in hundredths above. NULL is unpriced, not 0."""
    if amount is None:
        return "unpriced"
    return f"{amount:,.2f}" if abs(amount) >= 1 else f"{amount.normalize():f}"


def processes(moment: datetime) -> list[Process]:
    """The web processes of the last hour, the liveliest first."""
    rows = GatewayProcess.objects.filter(heartbeat_at__gt=moment - FORGOTTEN)
    holders = set(Reservation.objects.values_list("process_id", flat=True).distinct())
    found = []
    for row in rows.order_by("-heartbeat_at")[:20]:
        alive = row.heartbeat_at >= moment - SILENCE
        state = "alive" if alive else "stuck" if row.id in holders else "stopped"
        found.append(Process(str(row), row.started_at, row.heartbeat_at, state))
    return found
