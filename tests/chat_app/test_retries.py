"""How often, and after which pause, an upstream is asked again."""

import pytest

from chat_app.providers.base import Head, ProviderError, UpstreamBroken
from chat_app.retries import LONGEST_PAUSE_SECONDS, pause_before_retry


def failure(*, retryable: bool = True, retry_after: float | None = None) -> ProviderError:
    return UpstreamBroken("oops", head=Head(503), retryable=retryable, retry_after=retry_after)


def pause(
    error: ProviderError, retries: int = 0, *, left: float = 900, draw: float = 0.0
) -> float | None:
    return pause_before_retry(error, retries, allowed=2, left_seconds=left, draw=draw)


def test_pause_doubles_and_ends_with_the_retries_allowed() -> None:
    assert [pause(failure(), retries) for retries in range(3)] == [0.2, 0.4, None]


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 0.2), (0.5, 0.15), (1.0, 0.1)])
def test_pause_is_spread_over_its_second_half(draw: float, seconds: float) -> None:
    assert pause(failure(), draw=draw) == pytest.approx(seconds)


def test_what_is_not_safe_is_not_asked_again() -> None:
    assert pause(failure(retryable=False)) is None
    assert pause(failure(retryable=False, retry_after=1)) is None


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(0.05, 0.2), (1.5, 1.5), (LONGEST_PAUSE_SECONDS, 3.0), (LONGEST_PAUSE_SECONDS + 0.1, None)],
)
def test_upstream_that_names_a_short_wait_gets_it_and_a_long_one_is_left(
    asked: float, seconds: float | None
) -> None:
    assert pause(failure(retry_after=asked)) == seconds


def test_pause_that_would_use_up_the_time_is_not_made() -> None:
    assert pause(failure(), left=0.21) == 0.2
    assert pause(failure(), left=0.2) is None
