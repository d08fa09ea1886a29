"""What pages ask of the chat's tables, on Django's connection."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
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
# It was not asked.
NOT_ASKED: Final = "circuit_open"


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
    """How an upstream fared of late; `outcomes` with the most frequent first, each call in one."""

    outcomes: tuple[Outcome, ...] = ()
    not_asked: int = 0

    @property
    def calls(self) -> int:
        return sum(one.calls for one in self.outcomes)

    @property
    def failures(self) -> int:
        return sum(one.calls for one in self.outcomes if one.is_failure)

    @property
    def failed_percent(self) -> str:
        """To the nearest one; neither none nor all unless it is."""
        if not self.calls:
            return "0 %"
        percent = (200 * self.failures + self.calls) // (2 * self.calls)
        if percent == 0 and self.failures:
            return "under 1 %"
        return "over 99 %" if percent == 100 and self.failures < self.calls else f"{percent} %"


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
    for row in sums.order_by("outcome"):
        newest = last.get((row["upstream_id"], row["outcome"]))
        if newest is not None:
            calls = row["calls_made"]
            waited = row["waited_ms"] // max(calls, 1)
            told = (newest.minute, newest.status, newest.message)
            found[row["upstream_id"]].append(Outcome(row["outcome"], calls, waited, *told))
    return {pk: _each_once(outcomes) for pk, outcomes in found.items()}


def _each_once(outcomes: Iterable[Outcome]) -> Health:
    """An answer that was cut off had begun, and so was counted as ok before."""
    by_name = {one.name: one for one in outcomes}
    not_asked = by_name.pop(NOT_ASKED, None)
    if (cut := by_name.get(CUT_OFF)) and (ok := by_name.pop("ok", None)) and ok.calls > cut.calls:
        by_name["ok"] = replace(ok, calls=ok.calls - cut.calls)
    told = sorted(by_name.values(), key=lambda one: (-one.calls, one.name))
    return Health(tuple(told), not_asked.calls if not_asked else 0)


def recent_failures(most: int) -> QuerySet[UpstreamMinute]:
    """What upstreams failed with in the last hour, the newest first."""
    return (
        UpstreamMinute.objects.filter(minute__gt=timezone.now() - HEALTH_SPAN, outcome__in=FAILURES)
        .select_related("upstream")
        .order_by("-minute", "-calls", "outcome")[:most]
    )
