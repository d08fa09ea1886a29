"""Circuit breakers: an upstream that keeps failing is left alone for a while. PURE.

Closed: all calls pass. Open: none does, until a pause is over. Half-open: one call tries, and
closes the circuit or opens it for twice as long. Why there are two for an upstream:
docs/adrs/ADR-008-circuits-per-upstream-and-tenant.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat_app.providers.base import (
    ProviderError,
    UpstreamBroken,
    UpstreamTimeout,
    UpstreamUnreachable,
)

if TYPE_CHECKING:
    from tenants_app.snapshots import UpstreamSnapshot

FAILURES_TO_OPEN = 10
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0

# None as the tenant: the circuit of all.
Key = tuple[int, int | None]


class CircuitOpen(ProviderError):
    """The upstream was not asked: it failed too often of late"""

    outcome = "circuit_open"

    def __init__(self) -> None:
        super().__init__(sent=False)


@dataclass(slots=True)
class Circuit:
    """What is known of an upstream that failed last time."""

    upstream: UpstreamSnapshot
    tenant_id: int | None
    failures: int = 0  # one after the other, with no answer in between
    outcome: str = ""  # of the last one
    pause_seconds: float = 0.0  # 0: closed
    retry_at: float = 0.0
    is_trying: bool = False

    @property
    def is_open(self) -> bool:
        return self.pause_seconds > 0


class Circuits:
    """The circuits of one event loop. It holds only those of upstreams that failed last time."""

    def __init__(
        self, clock: Callable[[], float], changed: Callable[[Circuit], None] = lambda _: None
    ) -> None:
        """`clock` in seconds; `changed` hears of each circuit that opens, opens again or closes."""
        self._clock = clock
        self._changed = changed
        self._circuits: dict[Key, Circuit] = {}

    def admit(self, upstream: UpstreamSnapshot, tenant_id: int) -> bool:
        """Whether this upstream may be asked now. Whoever may says afterwards what became of it:
        `answered`, `failed` or `left`.
        """
        if not self._circuits:
            return True
        circuits = [c for c in self._of(upstream, tenant_id) if c.is_open]
        now = self._clock()
        if any(circuit.is_trying or now < circuit.retry_at for circuit in circuits):
            return False
        for circuit in circuits:
            circuit.is_trying = True
        return True

    def is_open(self, upstream: UpstreamSnapshot, tenant_id: int) -> bool:
        """Whether it is left alone now: waiting to ask it again would be in vain."""
        now = self._clock()
        return any(c.is_open and now < c.retry_at for c in self._of(upstream, tenant_id))

    def answered(self, upstream: UpstreamSnapshot, tenant_id: int) -> None:
        """It is alive: it answered, or refused a request for reasons of the request's."""
        if not self._circuits:
            return
        for circuit in list(self._of(upstream, tenant_id)):
            self._close(circuit)

    def failed(self, upstream: UpstreamSnapshot, tenant_id: int, failure: ProviderError) -> None:
        """It failed before its first byte."""
        if isinstance(failure, UpstreamUnreachable):
            if failure.retryable:  # Not so with a forbidden address: nobody was asked.
                self._count(upstream, None, failure)
            self.left(upstream, tenant_id)
        elif isinstance(failure, UpstreamTimeout | UpstreamBroken):
            # It could be reached. What it failed over may be this tenant's own request.
            self._close(self._circuits.get((upstream.id, None)))
            self._count(upstream, tenant_id, failure)
        elif failure.sent:
            self.answered(upstream, tenant_id)
        else:  # Refused on our side, as a name that fits into no URL: nobody was asked.
            self.left(upstream, tenant_id)

    def left(self, upstream: UpstreamSnapshot, tenant_id: int) -> None:
        """Nothing was found out, as when the client left: another may try."""
        for circuit in self._of(upstream, tenant_id):
            circuit.is_trying = False

    def _of(self, upstream: UpstreamSnapshot, tenant_id: int) -> Iterator[Circuit]:
        for key in ((upstream.id, None), (upstream.id, tenant_id)):
            circuit = self._circuits.get(key)
            if circuit is None:
                continue
            # An operator has changed it since: what was known is of another upstream.
            if circuit.upstream is not upstream and circuit.upstream != upstream:
                self._close(circuit)
            else:
                yield circuit

    def _count(
        self, upstream: UpstreamSnapshot, tenant_id: int | None, failure: ProviderError
    ) -> None:
        key = upstream.id, tenant_id
        circuit = self._circuits.get(key)
        if circuit is None or circuit.upstream != upstream:
            circuit = self._circuits[key] = Circuit(upstream, tenant_id)
        circuit.failures += 1
        circuit.outcome = failure.outcome
        # Of the calls that were under way when it opened, only the one that tries says more.
        opens = circuit.is_trying if circuit.is_open else circuit.failures >= FAILURES_TO_OPEN
        if opens:
            circuit.is_trying = False
            longer = max(FIRST_PAUSE_SECONDS, circuit.pause_seconds * 2)
            circuit.pause_seconds = min(longer, LONGEST_PAUSE_SECONDS)
            circuit.retry_at = self._clock() + circuit.pause_seconds
            self._changed(circuit)

    def _close(self, circuit: Circuit | None) -> None:
        if circuit is None:
            return
        self._circuits.pop((circuit.upstream.id, circuit.tenant_id), None)
        if circuit.is_open:
            circuit.pause_seconds = 0.0
            self._changed(circuit)
