"""Whether requests may be spent: the decision alone, on counters that the caller has locked. No
clock, no I/O.

All limits of a request hold or none is taken. Amounts are whole requests, tokens or ledger units
(10^-10 currency).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

MINIMUM_OUTPUT_TOKENS = 16
MICRO = 1_000_000
MINUTE_SECONDS = 60

Metric = Literal["requests", "tokens", "cost"]
ScopeName = Literal["tenant", "team", "key"]


@dataclass(slots=True)
class Window:
    """A locked row of usage_window, or of the batch's view of it: the caller adds to `held` what
    was granted.
    """

    id: int
    period: str
    ends_at: datetime
    used: dict[Metric, int]
    held: dict[Metric, int]


@dataclass(slots=True)
class Bucket:
    """A locked row of rate_bucket: `level_micro` millionths, as of `refilled_at`. A grant is taken
    from it.
    """

    id: int
    level_micro: int
    refilled_at: datetime


@dataclass(frozen=True, slots=True)
class Check:
    """One budget and the counter it is compared with; `burst` is a bucket's capacity."""

    scope: ScopeName
    metric: Metric
    limit: int
    counter: Window | Bucket
    burst: int = 0


@dataclass(frozen=True, slots=True)
class Demand:
    """The most that a request may come to. Rates are ledger units per token, 0 when unpriced."""

    input_tokens: int
    output_tokens: int
    minimum_output_tokens: int
    input_rate: int = 0
    output_rate: int = 0

    def amount(self, metric: Metric, output_tokens: int) -> int:
        if metric == "requests":
            return 1
        if metric == "tokens":
            return self.input_tokens + output_tokens
        return self.input_tokens * self.input_rate + output_tokens * self.output_rate

    def output_within(self, metric: Metric, room: int) -> int:
        """The most output tokens that fit into `room` beside the input; may be negative."""
        if metric == "tokens":
            return room - self.input_tokens
        if metric == "cost" and self.output_rate:
            return (room - self.input_tokens * self.input_rate) // self.output_rate
        return self.output_tokens


@dataclass(frozen=True, slots=True)
class Grant:
    """What is held: `output_tokens` is what may be asked of the provider."""

    output_tokens: int
    tokens: int
    cost: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which budget has no room and why.

    `exhausted`: used up. `too_large`: would not fit into an empty window. `in_flight`: others hold
    the room for now.
    """

    check: Check
    reason: Literal["exhausted", "too_large", "in_flight"]
    used: int
    held: int
    resets_at: datetime | None
    retry_after_seconds: int | None

    @property
    def by_rate(self) -> bool:
        counter = self.check.counter
        return isinstance(counter, Bucket) or counter.period == "concurrent"


def decide(demand: Demand, checks: Sequence[Check], now: datetime) -> Grant | Refusal:
    """Grant the largest output that every budget has room for, and count it in; or say which budget
    refuses.

    A day's or month's room clamps the output, and so does a bucket's capacity; a bucket that is
    merely low at the moment refuses instead, since its room comes back within the minute.
    """
    output = demand.output_tokens
    for check in checks:
        output = min(output, demand.output_within(check.metric, _clamping_room(check)))
    output = max(output, min(demand.minimum_output_tokens, demand.output_tokens))
    for check in checks:
        refusal = _refuse(demand.amount(check.metric, output), check, now)
        if refusal is not None:
            return refusal
    for check in checks:
        _take(demand.amount(check.metric, output), check, now)
    return Grant(output, demand.amount("tokens", output), demand.amount("cost", output))


def bucket_level(bucket: Bucket, check: Check, now: datetime) -> int:
    """The millionths in the bucket at `now`: refilled by limit/60 a second up to its capacity."""
    elapsed = max(now - bucket.refilled_at, timedelta(0)) // timedelta(microseconds=1)
    return min(check.burst * MICRO, bucket.level_micro + elapsed * check.limit // MINUTE_SECONDS)


def seconds_until(level_micro: int, check: Check) -> int:
    """Whole seconds, rounded up, until a bucket that lacks `level_micro` millionths has them."""
    return -(-level_micro * MINUTE_SECONDS // (check.limit * MICRO))


def _clamping_room(check: Check) -> int:
    counter = check.counter
    if isinstance(counter, Bucket):
        return check.burst
    return check.limit - counter.used[check.metric] - counter.held[check.metric]


def _refuse(amount: int, check: Check, now: datetime) -> Refusal | None:
    if isinstance(check.counter, Bucket):
        return _refuse_by_bucket(amount, check, check.counter, now)
    return _refuse_by_window(amount, check, check.counter, now)


def _refuse_by_bucket(amount: int, check: Check, bucket: Bucket, now: datetime) -> Refusal | None:
    level = bucket_level(bucket, check, now)
    lacking = amount * MICRO - level
    if lacking <= 0:
        return None
    used = check.burst - level // MICRO
    if amount > check.burst:
        return Refusal(check, "too_large", used, 0, None, None)
    wait = seconds_until(lacking, check)
    return Refusal(check, "exhausted", used, 0, now + timedelta(seconds=wait), wait)


def _refuse_by_window(amount: int, check: Check, window: Window, now: datetime) -> Refusal | None:
    used, held = window.used[check.metric], window.held[check.metric]
    if used + held + amount <= check.limit:
        return None
    if window.period == "concurrent":
        return Refusal(check, "in_flight", used, held, None, 1)
    until_reset = -((now - window.ends_at) // timedelta(seconds=1))
    if amount > check.limit:
        return Refusal(check, "too_large", used, held, window.ends_at, None)
    if used + amount > check.limit:
        return Refusal(check, "exhausted", used, held, window.ends_at, until_reset)
    return Refusal(check, "in_flight", used, held, window.ends_at, 1)


def _take(amount: int, check: Check, now: datetime) -> None:
    """Take from a bucket. Windows are counted by the caller, once per window however many budgets
    look at it.
    """
    bucket = check.counter
    if isinstance(bucket, Bucket):
        bucket.level_micro = bucket_level(bucket, check, now) - amount * MICRO
        bucket.refilled_at = now
