"""Asks one upstream by hand, for staff: whether it answers, and which models it offers.

Real calls over the same providers and the same guarded wire as a tenant's, on a connection of their
own. No tenant is charged: nothing of it is on the ledger, and the provider's bill has it all the
same.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from chat_app.providers.base import (
    Answer,
    Delta,
    Provider,
    ProviderError,
    UpstreamCall,
    UpstreamUnreachable,
    UsageReport,
)
from chat_app.providers.kinds import own_transport, providers_over
from chat_app.schema import Message
from tenants_app.snapshots import RouteSnapshot, UpstreamSnapshot
from usage_app.pricing import UsageFigures

SECONDS: Final = 30.0
# Some models refuse less, and a word is enough.
OUTPUT_TOKENS: Final = 16
TEXT_CHARACTERS: Final = 200
QUESTION: Final = "Answer with the word OK."


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one smallest call."""

    outcome: str  # ok, or a ProviderError's
    latency_ms: int  # until the answer began, or the failure was known
    total_ms: int
    status: int | None = None
    reference: str | None = None
    message: str = ""  # what a failure said, redacted
    text: str = ""  # the answer's beginning
    usage: UsageFigures | None = None

    @property
    def is_ok(self) -> bool:
        return self.outcome == "ok"


async def ask(upstream: UpstreamSnapshot, upstream_model: str) -> Trial:
    """Ask this model there for one word. Never raises ProviderError: it is what is told."""
    call = UpstreamCall((Message("user", QUESTION),), max_tokens=OUTPUT_TOKENS)
    route, began = RouteSnapshot(upstream, upstream_model), time.monotonic()
    answer: Answer | None = None
    answered_ms: int | None = None
    try:
        async with _provider(upstream) as provider:
            answer = await provider.open(route, call, seconds=SECONDS)
            answered_ms = _since_ms(began)
            text, usage = await _read(answer)
    except ProviderError as failure:
        now_ms = _since_ms(began)
        told = (failure.status, failure.reference, failure.excerpt)
        return Trial(failure.outcome, now_ms if answered_ms is None else answered_ms, now_ms, *told)
    total_ms = _since_ms(began)
    told = (answer.status, answer.reference, "")
    return Trial("ok", answered_ms, total_ms, *told, text=text, usage=usage)


async def offered(upstream: UpstreamSnapshot) -> tuple[str, ...]:
    """The names of the models that the upstream says it has. Raises ProviderError."""
    async with _provider(upstream) as provider:
        return await provider.models(upstream, seconds=SECONDS)


@asynccontextmanager
async def _provider(upstream: UpstreamSnapshot) -> AsyncIterator[Provider]:
    transport = own_transport()
    try:
        provider = providers_over(transport).get(upstream.kind)
        if provider is None:
            raise UpstreamUnreachable(f"there is no provider for upstreams of kind {upstream.kind}")
        yield provider
    finally:
        await transport.aclose()


async def _read(answer: Answer) -> tuple[str, UsageFigures | None]:
    text, usage = "", None
    async with aclosing(answer):
        async for events in answer:
            for event in events:
                if isinstance(event, Delta):
                    text = (text + event.text)[:TEXT_CHARACTERS]
                elif isinstance(event, UsageReport):
                    usage = event.usage
    return text, usage


def _since_ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
