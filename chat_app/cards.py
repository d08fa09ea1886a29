"""The front page's card about upstreams: what they failed with, and which are left alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.http import HttpRequest
from django.urls import reverse

from chat_app.models import OpenCircuit, UpstreamMinute
from chat_app.selectors import Health, health, open_circuits, recent_failures
from tenants_app.admin.sections import Section
from usage_app.overview.look import Look

FAILURES_READ: Final = 50
SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Failing:
    """An upstream that failed within the last hour: how often, and what it said last."""

    upstream_id: int
    name: str
    health: Health
    last: UpstreamMinute
    circuit: str


@dataclass(frozen=True, slots=True)
class Providers:
    """Upstreams that failed, the latest first; what is left alone is a warning."""

    rows: Sequence[Failing]
    warnings: Sequence[str]


def providers(request: HttpRequest, look: Look) -> Section | None:
    """Recent failures. Whoever is held to some tenants does not see the upstreams of all."""
    if look.within is not None or not request.user.has_perm("tenants_app.view_upstream"):
        return None
    last: dict[int, UpstreamMinute] = {}
    for minute in recent_failures(FAILURES_READ):
        last.setdefault(minute.upstream_id, minute)
    fared = health([minute.upstream for minute in last.values()])
    circuits = {one.upstream_id: one for one in open_circuits().order_by("retry_at")}
    rows = [
        Failing(
            pk,
            str(minute.upstream),
            fared[pk],
            minute,
            circuits[pk].state if pk in circuits else "",
        )
        for pk, minute in list(last.items())[:SHOWN]
    ]
    data = Providers(rows, _warnings(look.now, list(circuits.values())))
    more = ("All upstreams", reverse("admin:tenants_app_upstream_changelist"))
    return Section("providers", "Provider errors", "chat_app/cards/providers.html", data, more)


def _warnings(now: datetime, circuits: Sequence[OpenCircuit]) -> list[str]:
    count = sum(circuit.retry_at > now for circuit in circuits)
    if not count:
        return []
    told = "An upstream kept failing and is"
    if count > 1:
        told = f"{count} upstreams kept failing and are"
    return [f"{told} left alone for a while."]
