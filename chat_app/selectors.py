"""What pages ask of the chat's tables, on Django's connection."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet, Sum
from django.utils import timezone

from chat_app.models import OpenCircuit, UpstreamMinute
from chat_app.upstream_minutes import CUT_OFF
from tenants_app.models import Upstream
from usage_app.ledger_sync import SILENCE
from usage_app.models import GatewayProcess

HEALTH_SPAN: Final = timedelta(hours=1)
# An upstream that says of a request that it is wrong, or that a client leaves, is well.
FAILURES: Final = ("unreachable", "timeout", "broken", "error", "rate_limited", CUT_OFF)
# It was not asked, or had answered already.
NO_CALLS: Final = ("circuit_open", CUT_OFF)


def open_circuits() -> QuerySet[OpenCircuit]:
    """The circuits that living processes hold open; what others knew has ended with them."""
    beating = GatewayProcess.objects.filter(heartbeat_at__gt=timezone.now() - SILENCE)
    return OpenCircuit.objects.filter(process_id__in=beating.values("id"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Calls that ended alike, and what the upstream said the last time it happened."""

    name: str
    calls: int
    latency_ms: int  # of one on average, until the answer began or the failure was known
    last_at: datetime
    status: int | None = None
    message: str = ""

    @property
    def is_failure(self) -> bool:
        return self.name in FAILURES


@dataclass(frozen=True, slots=True)
class Health:
    """How an upstream fared of late; `outcomes` with the most frequent first."""

    outcomes: tuple[Outcome, ...] = ()

    @property
    def calls(self) -> int:
        return sum(one.calls for one in self.outcomes if one.name not in NO_CALLS)

    @property
    def failures(self) -> int:
        return sum(one.calls for one in self.outcomes if one.is_failure)

    @property
    def failure_percent(self) -> int:
        """Rounded up: it is 0 for an upstream without any failure only."""
        return -(-100 * self.failures // self.calls) if self.calls else 0


def health(upstreams: Iterable[Upstream]) -> dict[int, Health]:
    """How each of these fared within the last hour, by its id; two statements however many."""
    ids = [upstream.pk for upstream in upstreams]
    rows = UpstreamMinute.objects.filter(upstream__in=ids, minute__gt=timezone.now() - HEALTH_SPAN)
    last = {
        (row.upstream_id, row.outcome): row
        for row in rows.order_by("upstream_id", "outcome", "-minute").distinct(
            "upstream_id", "outcome"
        )
    }
    sums = rows.values("upstream_id", "outcome").annotate(
        calls_made=Sum("calls"), waited_ms=Sum("latency_ms")
    )
    found: dict[int, list[Outcome]] = {pk: [] for pk in ids}
    for row in sums.order_by("-calls_made", "outcome"):
        newest = last.get((row["upstream_id"], row["outcome"]))
        if newest is not None:
            calls = row["calls_made"]
            waited = row["waited_ms"] // max(calls, 1)
            told = (newest.minute, newest.status, newest.message)
            found[row["upstream_id"]].append(Outcome(row["outcome"], calls, waited, *told))
    return {pk: Health(tuple(outcomes)) for pk, outcomes in found.items()}


def recent_failures(most: int) -> QuerySet[UpstreamMinute]:
    """What upstreams failed with in the last hour, the newest first."""
    return (
        UpstreamMinute.objects.filter(minute__gt=timezone.now() - HEALTH_SPAN, outcome__in=FAILURES)
        .select_related("upstream")
        .order_by("-minute", "-calls", "outcome")[:most]
    )
