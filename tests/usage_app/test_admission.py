"""The decision alone: who fits, who is clamped, who is refused and why."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_app.admission import (
    MICRO,
    Bucket,
    Check,
    Demand,
    Grant,
    Refusal,
    Window,
    bucket_level,
    decide,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def window(used: int = 0, held: int = 0, metric: str = "tokens", period: str = "day") -> Window:
    zero: dict[Any, int] = {"requests": 0, "tokens": 0, "cost": 0}
    ends_at = NOW + timedelta(hours=12)
    return Window(1, period, ends_at, zero | {metric: used}, zero | {metric: held})


def check(limit: int, counter: Window | Bucket, metric: Any = "tokens", burst: int = 0) -> Check:
    return Check("tenant", metric, limit, counter, burst or limit)


def demand(tokens_in: int = 10, tokens_out: int = 90, **rates: int) -> Demand:
    return Demand(tokens_in, tokens_out, min(16, tokens_out), **rates)


def test_without_limits_all_is_granted() -> None:
    assert decide(demand(), [], NOW) == Grant(output_tokens=90, tokens=100, cost=0)


@pytest.mark.parametrize(
    ("used", "held", "output"),
    [(0, 0, 90), (900, 0, 90), (901, 0, 89), (0, 950, 40), (500, 474, 16)],
)
def test_output_is_clamped_to_what_is_left(used: int, held: int, output: int) -> None:
    verdict = decide(demand(), [check(1000, window(used, held))], NOW)
    assert isinstance(verdict, Grant)
    assert verdict.output_tokens == output


@pytest.mark.parametrize(
    ("used", "held", "limit", "reason", "wait"),
    [
        (1000, 0, 1000, "exhausted", 43_200),
        (975, 0, 1000, "exhausted", 43_200),
        (500, 475, 1000, "in_flight", 1),
        (0, 0, 25, "too_large", None),
    ],
)
def test_refusal_says_why_and_how_long(
    used: int, held: int, limit: int, reason: str, wait: int | None
) -> None:
    verdict = decide(demand(), [check(limit, window(used, held))], NOW)
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.retry_after_seconds) == (reason, wait)
    assert not verdict.by_rate


def test_wish_for_less_than_the_minimum_is_not_refused_for_it() -> None:
    verdict = decide(demand(10, 5), [check(15, window())], NOW)
    assert verdict == Grant(output_tokens=5, tokens=15, cost=0)


def test_money_clamps_the_output_too() -> None:
    counter = window(metric="cost")
    verdict = decide(demand(input_rate=2, output_rate=10), [check(520, counter, "cost")], NOW)
    assert verdict == Grant(output_tokens=50, tokens=60, cost=520)


def test_requests_count_one_each() -> None:
    counter = window(used=3, held=1, metric="requests")
    assert isinstance(decide(demand(), [check(5, counter, "requests")], NOW), Grant)
    assert isinstance(decide(demand(), [check(4, counter, "requests")], NOW), Refusal)


def test_nothing_is_taken_when_one_of_several_refuses() -> None:
    bucket = Bucket(2, 1000 * MICRO, NOW)
    checks = [check(1000, bucket), check(25, window())]
    assert isinstance(decide(demand(), checks, NOW), Refusal)
    assert bucket.level_micro == 1000 * MICRO


def test_bucket_is_refilled_up_to_its_burst() -> None:
    bucket = Bucket(1, 0, NOW)
    limit = check(60, bucket, burst=10)
    assert bucket_level(bucket, limit, NOW + timedelta(seconds=3)) == 3 * MICRO
    assert bucket_level(bucket, limit, NOW + timedelta(hours=1)) == 10 * MICRO
    # Two clocks may differ a little; time never runs backwards in a bucket.
    assert bucket_level(bucket, limit, NOW - timedelta(seconds=3)) == 0


def test_low_bucket_refuses_with_the_exact_wait() -> None:
    limit = check(60, Bucket(1, 0, NOW), "requests", burst=10)
    verdict = decide(demand(), [limit], NOW + timedelta(milliseconds=200))
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.retry_after_seconds, verdict.by_rate) == ("exhausted", 1, True)
    assert isinstance(decide(demand(), [limit], NOW + timedelta(seconds=1)), Grant)


def test_bucket_clamps_to_its_capacity_only() -> None:
    full = Bucket(1, 50 * MICRO, NOW)
    verdict = decide(demand(), [check(60, full, burst=50)], NOW)
    assert verdict == Grant(output_tokens=40, tokens=50, cost=0)
    low = Bucket(1, 49 * MICRO, NOW)
    assert isinstance(decide(demand(), [check(60, low, burst=50)], NOW), Refusal)


@given(
    limit=st.integers(1, 500),
    wishes=st.lists(st.tuples(st.integers(0, 100), st.integers(1, 200)), max_size=30),
)
def test_no_sequence_of_grants_exceeds_the_limit(limit: int, wishes: list[tuple[int, int]]) -> None:
    counter = window()
    for tokens_in, tokens_out in wishes:
        verdict = decide(demand(tokens_in, tokens_out), [check(limit, counter)], NOW)
        if isinstance(verdict, Grant):
            counter.held["tokens"] += verdict.tokens
        else:
            least = tokens_in + min(16, tokens_out)
            assert counter.held["tokens"] + least > limit
        assert counter.held["tokens"] <= limit
