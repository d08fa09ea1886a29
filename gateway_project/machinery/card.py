"""The front page's card about what has to run: worker, beat and broker, the ledger's partitions,
the roll-ups, and the web processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from django.http import HttpRequest
from django.urls import reverse

from gateway_project import readiness
from gateway_project.machinery import heartbeat
from tenants_app.admin.sections import Section
from usage_app import partitions
from usage_app.overview.look import Look
from usage_app.overview.processes import Process, processes

# They are made every five minutes.
ROLLUPS_LATE: Final = timedelta(minutes=20)
State = Literal["good", "late", "bad"]


@dataclass(frozen=True, slots=True)
class Part:
    """Something that has to run: how it is, in a word and in a sentence. `at`: of its last sign."""

    title: str
    state: State
    text: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Machinery:
    """All of it; what is bad is a warning, too."""

    parts: Sequence[Part]
    processes: Sequence[Process]

    @property
    def warnings(self) -> Sequence[str]:
        return [part.text for part in self.parts if part.state == "bad"]


def machinery(request: HttpRequest, look: Look) -> Section | None:
    """For those who may view processes, and see all tenants."""
    if look.within is not None or not request.user.has_perm("usage_app.view_gatewayprocess"):
        return None
    parts = [_worker(look.now), _rollups(look), _partitions(look.now), _stray()]
    data = Machinery([part for part in parts if part], processes(look))
    more = ("Processes", reverse("admin:usage_app_gatewayprocess_changelist"))
    return Section("machinery", "Machinery", "gateway_project/machinery.html", data, more)


def _worker(now: datetime) -> Part:
    """One row says that all three live; if it is old, only the broker can be asked."""
    title = "Worker, beat and broker"
    at = heartbeat.last()
    if at is not None and at >= now - heartbeat.SILENCE:
        return Part(title, "good", "A task went from beat through the broker to a worker.", at)
    which = "worker or beat" if readiness.broker_answers() else "the broker"
    never = "No task has ever run" if at is None else "No periodic task has run of late"
    return Part(title, "bad", f"{never}: {which} is not there.", at)


def _rollups(look: Look) -> Part:
    at = look.rolled_up_to
    if at is None:
        return Part("Roll-ups", "late", "Nothing was rolled up yet; it is done every five minutes.")
    if at < look.now - ROLLUPS_LATE:
        return Part("Roll-ups", "bad", "Roll-ups are behind: reports read the ledger itself.", at)
    return Part("Roll-ups", "good", "All but the last minutes are in them.", at)


def _partitions(now: datetime) -> Part:
    title = "Partitions of the ledger"
    ahead = partitions.months_ahead(now.astimezone(UTC).date())
    if ahead < 1:
        told = "this month" if ahead < 0 else "next month"
        return Part(title, "bad", f"The ledger has no partition for {told}.")
    state: State = "good" if ahead >= partitions.MONTHS_AHEAD - 1 else "late"
    return Part(title, state, f"Made {ahead} month{'' if ahead == 1 else 's'} ahead.")


def _stray() -> Part | None:
    if not partitions.rows_in_default():
        return None
    told = (
        "Ledger entries lie in the default partition: the months' partitions are not made ahead,"
        " or a clock was wrong."
    )
    return Part("Default partition", "bad", told)
