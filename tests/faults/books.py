"""What must be true of the books whatever has happened to the processes that write them."""

from datetime import timedelta
from typing import Any

from django.db.models import Sum

from tenants_app.models import Tenant
from tests.live import eventually
from usage_app import ledger_sync
from usage_app.models import LedgerEntry, Reservation, UsageWindow

# The cluster of a test run is younger than the sweep's half minute.
SILENCE = timedelta(milliseconds=700)
SETTLE_SECONDS = 15.0


def entries(tenant: Tenant, **having: Any) -> list[LedgerEntry]:
    return list(LedgerEntry.objects.for_tenant(tenant).filter(**having).order_by("id"))


def holds(tenant: Tenant) -> list[Reservation]:
    return list(Reservation.objects.for_tenant(tenant).order_by("id"))


def wait_for_holds(tenant: Tenant, count: int) -> list[Reservation]:
    """The tenant's holds once there are so many."""
    eventually(lambda: len(holds(tenant)) == count, seconds=SETTLE_SECONDS)
    found = holds(tenant)
    assert len(found) == count
    return found


def settled(tenant: Tenant, count: int | None = None) -> list[LedgerEntry]:
    """The tenant's entries once nothing is held, after a look at the whole of its books."""
    eventually(lambda: not holds(tenant), seconds=SETTLE_SECONDS)
    assert_balanced(tenant)
    assert not holds(tenant)
    found = entries(tenant)
    assert count is None or len(found) == count
    return found


def sweep(count: int) -> None:
    """Expire that many holds, whose process has just fallen silent, and no more."""
    ended = 0

    def done() -> bool:
        nonlocal ended
        ended += ledger_sync.expire(silence=SILENCE)
        return ended >= count

    eventually(done, seconds=SETTLE_SECONDS)
    assert ended == count
    assert ledger_sync.expire(silence=SILENCE) == 0


def assert_balanced(tenant: Tenant) -> None:
    """Every window is the sum of its scope's entries and open holds, to the last place.

    For tenants all of whose requests fall into the windows at hand, as a test's do.
    """
    for window in UsageWindow.objects.for_tenant(tenant):
        scope = {} if window.api_key_id is None else {"api_key": window.api_key_id}
        open_holds = Reservation.objects.for_tenant(tenant).filter(**scope)
        written = LedgerEntry.objects.for_tenant(tenant).filter(**scope)
        held = open_holds.aggregate(tokens=Sum("held_tokens"), cost=Sum("held_cost"))
        sums = written.aggregate(tokens=Sum("total_tokens"), cost=Sum("cost"))
        used = (written.filter(kind="usage").count(), sums["tokens"] or 0, sums["cost"] or 0)
        assert (window.held_requests, window.held_tokens, window.held_cost) == (
            open_holds.count(),
            held["tokens"] or 0,
            held["cost"] or 0,
        )
        expected = (0, 0, 0) if window.period == "concurrent" else used
        assert (window.requests, window.tokens, window.cost) == expected
