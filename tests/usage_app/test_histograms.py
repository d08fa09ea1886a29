"""Percentiles of fixed buckets, against the values themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_app.histograms import BOUNDS_MS, BUCKETS, Between, added, percentile


def histogram_of(values: list[int]) -> list[int]:
    return [
        sum(low <= value < high for value in values)
        for low, high in zip((-1, *BOUNDS_MS), (*BOUNDS_MS, 10**12), strict=True)
    ]


def test_percentile_of_nothing_is_unknown() -> None:
    assert percentile([0] * BUCKETS, 50) is None


@pytest.mark.parametrize(
    ("value", "between"),
    [
        (0, Between(0, 10)),
        (9, Between(0, 10)),
        (10, Between(10, 15)),
        (999, Between(700, 1_000)),
        (1_000_000, Between(1_000_000, None)),
    ],
)
def test_percentile_of_one_value_is_its_bucket(value: int, between: Between) -> None:
    assert percentile(histogram_of([value]), 50) == between


@given(
    st.lists(st.integers(0, 2_000_000), min_size=1),
    st.lists(st.integers(0, 2_000_000)),
    st.floats(0, 100),
)
def test_percentile_of_added_histograms_bounds_the_value(
    some: list[int], others: list[int], percent: float
) -> None:
    values = sorted(some + others)
    found = percentile(added([histogram_of(some), histogram_of(others)]), percent)
    rank = max(-int(-len(values) * percent // 100), 1)
    value = values[rank - 1]
    assert found is not None
    assert found.from_ms <= value
    assert found.below_ms is None or value < found.below_ms
