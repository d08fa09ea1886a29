"""Latencies as counts in fixed buckets, so that percentiles of any sum of periods are honest. PURE.

The bounds never change: histograms that are stored already could not be added to new ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

# Six a decade, from 10 ms to the quarter of an hour that a request may last. A value that equals a
# bound lies above it, as Postgres' width_bucket(value, bounds) counts.
BOUNDS_MS = (
    *(10, 15, 20, 30, 50, 70),
    *(100, 150, 200, 300, 500, 700),
    *(1_000, 1_500, 2_000, 3_000, 5_000, 7_000),
    *(10_000, 15_000, 20_000, 30_000, 50_000, 70_000),
    *(100_000, 150_000, 200_000, 300_000, 500_000, 700_000),
    1_000_000,
)
BUCKETS = len(BOUNDS_MS) + 1


@dataclass(frozen=True, slots=True)
class Between:
    """At least `from_ms` and less than `below_ms`; None: without an upper bound."""

    from_ms: int
    below_ms: int | None


def added(histograms: Iterable[Sequence[int]]) -> list[int]:
    """One histogram of all values that the given ones count."""
    total = [0] * BUCKETS
    for histogram in histograms:
        total = [a + b for a, b in zip(total, histogram, strict=True)]
    return total


def percentile(histogram: Sequence[int], percent: float) -> Between | None:
    """The bounds between which the value lies that `percent` (0 to 100) of the counted values do
    not exceed; None when nothing was counted.
    """
    count = sum(histogram)
    if not count:
        return None
    rank = max(ceil(count * percent / 100), 1)
    bucket = next(place for place, seen in enumerate(accumulate(histogram)) if seen >= rank)
    return Between(
        BOUNDS_MS[bucket - 1] if bucket else 0,
        BOUNDS_MS[bucket] if bucket < len(BOUNDS_MS) else None,
    )
