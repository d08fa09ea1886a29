"""The web processes, by their heartbeats."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from usage_app.ledger_sync import SILENCE
from usage_app.models import GatewayProcess, Reservation
from usage_app.overview.look import Look

# Older rows are of the past and not worth a warning.
FORGOTTEN: Final = timedelta(hours=1)
SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Process:
    """A web process: `alive`, `stopped`, or `stuck` when it fell silent with holds still open."""

    name: str
    started_at: datetime
    heartbeat_at: datetime
    state: str


def processes(look: Look) -> Sequence[Process]:
    """Those of the last hour, the liveliest first."""
    rows = GatewayProcess.objects.filter(heartbeat_at__gt=look.now - FORGOTTEN)
    holders = set(Reservation.objects.values_list("process_id", flat=True).distinct())
    found = []
    for row in rows.order_by("-heartbeat_at")[:SHOWN]:
        alive = row.heartbeat_at >= look.now - SILENCE
        state = "alive" if alive else "stuck" if row.id in holders else "stopped"
        found.append(Process(str(row), row.started_at, row.heartbeat_at, state))
    return found
