"""What goes into the ledger and comes out of it: a wish, a hold, a settlement, and how full a
budget is. PURE.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from tenants_app.snapshots import Caller
from usage_app.admission import Demand, Metric, ScopeName
from usage_app.pricing import UsageFigures, to_decimal

# Names the adjustment entries of late settlements: one id per request, always the same.
_LATE = UUID("6f1d6a43-6a3c-4f0e-9d5e-2f8f6f8f2a71")

Outcome = Literal["ok", "error", "aborted"]
UsageSource = Literal["provider", "estimated", "partial"]


@dataclass(frozen=True, slots=True)
class Wish:
    """A request that asks to be admitted. `request_id` becomes the id of its ledger entry."""

    request_id: UUID
    caller: Caller
    trace_id: str
    model: str
    model_reason: str
    upstream: str
    price_id: int | None
    demand: Demand
    estimated_input_tokens: int
    stream: bool
    user_hash: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How full one day or month budget is. Amounts are requests, tokens or ledger units."""

    scope: ScopeName
    metric: Metric
    period: str
    limit: int
    used: int
    held: int
    resets_at: datetime
    window_id: int

    @property
    def remaining(self) -> int:
        return max(self.limit - self.used - self.held, 0)

    def is_tighter_than(self, other: "BudgetState") -> bool:
        """Whether the smaller share of its limit is left."""
        return self.remaining * other.limit < other.remaining * self.limit


@dataclass(frozen=True, slots=True)
class RateState:
    """How full the tightest requests-per-minute budget is, and when it is full again."""

    limit: int
    remaining: int
    reset_seconds: int


@dataclass(slots=True)
class Hold:
    """A durable hold. `output_tokens` is the most that may be asked of the provider.

    `streamed_output_tokens`, `model`, `model_reason`, `upstream` and `price_id` are what the
    heartbeat writes down of an open answer.
    """

    request_id: UUID
    tenant_id: int
    created_at: datetime
    local_day: date
    tokens: int
    cost: int
    output_tokens: int
    window_ids: Sequence[int]
    bucket_ids: Sequence[int]
    budgets: Sequence[BudgetState]
    rate: RateState | None
    model: str
    upstream: str
    price_id: int | None
    model_reason: str = ""
    streamed_output_tokens: int | None = None

    @property
    def tightest(self) -> BudgetState | None:
        return tightest(self.budgets)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an admitted request came to. `cost` is ledger units, or None: tokens without a known
    price.
    """

    model: str
    model_reason: str
    upstream: str
    usage: UsageFigures
    usage_source: UsageSource
    outcome: Outcome
    price_id: int | None
    cost: int | None
    latency_ms: int
    ttft_ms: int | None = None
    error_code: str = ""
    attempts: Sequence[Mapping[str, Any]] = ()
    upstream_reference: str = ""

    def as_row(self, hold: Hold) -> dict[str, Any]:
        """The row that the settling statements read; see `ledger_sql.ENTRY_FIELDS`."""
        usage = self.usage
        return {
            "id": hold.request_id,
            "kind": "usage",
            "attempts": self.attempts,
            "model": self.model,
            "model_reason": self.model_reason,
            "upstream": self.upstream,
            "price_id": self.price_id,
            "input_tokens": usage.input,
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write,
            "output_tokens": usage.output,
            "reasoning_tokens": usage.reasoning,
            "total_tokens": usage.total,
            "cost": None if self.cost is None else money_text(self.cost),
            "usage_source": self.usage_source,
            "outcome": self.outcome,
            "error_code": self.error_code,
            "ttft_ms": self.ttft_ms,
            "latency_ms": self.latency_ms,
            "upstream_reference": self.upstream_reference,
        }


def late_keys(hold: Hold) -> dict[str, Any]:
    """What a settlement needs beside its row when the sweep came first; the adjustment's id is
    derived, so there is one.
    """
    return {
        "created_at": hold.created_at,
        "adjustment_id": uuid5(_LATE, hold.request_id.hex),
        "window_ids": hold.window_ids,
    }


def release(hold: Hold, *, error_code: str = "released") -> Settlement:
    """The settlement of a hold that nothing was spent on."""
    return Settlement(
        model=hold.model,
        model_reason="",
        upstream=hold.upstream,
        usage=UsageFigures(),
        usage_source="estimated",
        outcome="aborted",
        price_id=None,
        cost=0,
        latency_ms=0,
        error_code=error_code,
    )


def unconfirmed(wish: Wish, window_ids: Sequence[int]) -> Hold:
    """A stand-in for a hold that may exist or not, good for nothing but its release."""
    never = datetime(1970, 1, 1, tzinfo=UTC)
    return Hold(
        request_id=wish.request_id,
        tenant_id=wish.caller.tenant.id,
        created_at=never,
        local_day=never.date(),
        tokens=0,
        cost=0,
        output_tokens=0,
        window_ids=window_ids,
        bucket_ids=(),
        budgets=(),
        rate=None,
        model=wish.model,
        upstream=wish.upstream,
        price_id=wish.price_id,
    )


def tightest(budgets: Sequence[BudgetState]) -> BudgetState | None:
    """The budget with the smallest share of its limit left, or None without one."""
    found: BudgetState | None = None
    for budget in budgets:
        if found is None or budget.is_tighter_than(found):
            found = budget
    return found


def money_text(units: int) -> str:
    """Ledger units as the text of an exact amount with 10 places."""
    return f"{to_decimal(units):f}"
