"""Whether, and after which pause, an upstream that failed is asked once more. PURE.

What may safely be asked again is the provider's knowledge (`ProviderError.retryable`); how often
and how patiently is decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chat_app.providers.base import ProviderError

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0
# The share of a pause that is drawn: clients that failed together must not come back together.
JITTER = 0.5


def pause_before_retry(
    failure: ProviderError, retries: int, *, allowed: int, left_seconds: float, draw: float
) -> float | None:
    """Seconds to wait before the same upstream is asked again, or None: it is not.

    `retries` were made already, of those `allowed`. The pause doubles each time, and is never
    shorter than the upstream asked for; one that is longer than `LONGEST_PAUSE_SECONDS`, or than
    what is left, is better spent on a fallback. `draw` is a random number from 0 to 1.
    """
    if retries >= allowed or not failure.retryable:
        return None
    pause = FIRST_PAUSE_SECONDS * 2**retries * (1 - JITTER * draw)
    if failure.retry_after is not None:
        pause = max(pause, failure.retry_after)
    return pause if pause <= LONGEST_PAUSE_SECONDS and pause < left_seconds else None
