"""Which ProviderError a failure of the wire or a refusal is, and whether it may be tried again.

What counts as billed although it failed is in base.py, beside the errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import httpx

from chat_app.providers.base import (
    Head,
    ProviderError,
    UpstreamBroken,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from chat_app.providers.dialect import Refusal
from chat_app.providers.http import Barred

MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60
# With these the same request may well be answered a moment later, and was hardly worked on now. A
# 502 is one of base.LOST_ANSWER_STATUSES, too: mostly it is a backend that was not there.
RETRYABLE_STATUSES = frozenset({409, 425, 429, 500, 502, 503, 520, 521, 522, 529})

_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?")


def of_wire(exc: httpx.TransportError, head: Head | None = None) -> ProviderError:
    """What a failure of the wire means. Only before the head may nothing have been sent."""
    text = str(exc)
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
        return UpstreamUnreachable(text, retryable=not isinstance(exc, Barred))
    if isinstance(exc, httpx.UnsupportedProtocol):
        return UpstreamUnreachable(text)
    kind = UpstreamTimeout if isinstance(exc, httpx.TimeoutException) else UpstreamBroken
    return kind(text, head=head)


def of_refusal(
    refusal: Refusal, head: Head, headers: Mapping[str, str], excerpt: str
) -> ProviderError:
    """What an upstream means that answers with a refusal; `headers` are the few that were kept."""
    status = refusal.status
    if refusal.timeout:
        kind: type[ProviderError] = UpstreamTimeout
    elif status == 429:
        kind = UpstreamRateLimited
    else:
        kind = UpstreamRejected if 300 <= status < 500 else UpstreamBroken
    return kind(
        excerpt,
        head=replace(head, status=status),
        retryable=_retryable(refusal, headers.get("x-should-retry")),
        retry_after=_retry_after(headers),
    )


def _retryable(refusal: Refusal, wish: str | None) -> bool:
    """`wish` is x-should-retry, which comes before the status, as the OpenAI SDKs have it; a code
    that says no (a used-up quota) comes before both.
    """
    if refusal.retryable is False or wish == "false":
        return False
    return bool(refusal.retryable) or wish == "true" or refusal.status in RETRYABLE_STATUSES


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, bounded; the other form, a date, needs clocks that agree."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name, "")
        if _DECIMAL.fullmatch(value):
            return min(float(value) / unit, MAX_RETRY_AFTER_SECONDS)
    return None
