"""One try at an upstream, as it is kept on the ledger entry. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from chat_app.providers.base import Answer, ProviderError
    from chat_app.routing import Candidate


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of asking one candidate once, or why it was not asked."""

    upstream: str
    model: str
    outcome: str  # ok, cancelled, not_usable, or a ProviderError's
    status: int | None = None
    latency_ms: int = 0  # until the answer began, or the failure was known
    reference: str | None = None
    maybe_billed: bool = False
    began_ms: int = field(default=0, compare=False)  # since the first of the call; not kept
    notes: Mapping[str, str] = field(default_factory=dict)  # what an intermediary told besides

    def as_json(self) -> dict[str, Any]:
        return {
            "upstream": self.upstream,
            "model": self.model,
            "outcome": self.outcome,
            "status": self.status,
            "latencyMs": self.latency_ms,
            "reference": self.reference,
            "maybeBilled": self.maybe_billed,
            **self.notes,
        }

    @classmethod
    def answered(cls, candidate: Candidate, answer: Answer, latency_ms: int) -> Self:
        """The candidate has begun to answer."""
        return cls(
            upstream=candidate.route.upstream.name,
            model=candidate.model.public_id,
            outcome="ok",
            status=answer.status,
            latency_ms=latency_ms,
            reference=answer.reference,
            notes=answer.notes,
        )

    @classmethod
    def failed(cls, candidate: Candidate, failure: ProviderError, latency_ms: int) -> Self:
        """It failed, before its first byte or in the middle."""
        return cls(
            upstream=candidate.route.upstream.name,
            model=candidate.model.public_id,
            outcome=failure.outcome,
            status=failure.status,
            latency_ms=latency_ms,
            reference=failure.reference,
            maybe_billed=failure.maybe_billed,
            notes=failure.notes,
        )

    @classmethod
    def cancelled(cls, candidate: Candidate, latency_ms: int) -> Self:
        """The client left while it was asked; nobody can tell how far the request had got."""
        return cls(
            upstream=candidate.route.upstream.name,
            model=candidate.model.public_id,
            outcome="cancelled",
            latency_ms=latency_ms,
            maybe_billed=True,
        )

    @classmethod
    def passed_over(cls, candidate: Candidate) -> Self:
        """A fallback that the tenant may not use any more, found out when its turn came."""
        return cls(
            upstream=candidate.route.upstream.name,
            model=candidate.model.public_id,
            outcome="not_usable",
        )
