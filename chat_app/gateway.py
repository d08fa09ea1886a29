"""The one way to a model: tries candidates in order until one answers, and records every attempt.

Falls back only before the first byte; what comes after it is the caller's stream. Chooses no model
(routing.py), charges nothing (chat_stream.py), and speaks to no upstream itself (providers/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings

from chat_app.errors import AiError, AiTimeout
from chat_app.providers.base import (
    Answer,
    Provider,
    ProviderError,
    UpstreamCall,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from chat_app.providers.demo import DemoProvider
from chat_app.providers.http import Transport
from chat_app.providers.openai import OpenAIProvider
from chat_app.routing import Candidate
from tenants_app.networks import parse_networks

log = structlog.get_logger(__name__)

# What to ask of a candidate; it may differ in the output cap and in what the upstream is told.
CallFor = Callable[[Candidate], UpstreamCall]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one candidate, as it is kept on the ledger entry."""

    upstream: str
    model: str
    outcome: str  # ok, cancelled, or a ProviderError's
    status: int | None
    latency_ms: int  # until the answer began, or the failure was known
    reference: str | None
    maybe_billed: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "upstream": self.upstream,
            "model": self.model,
            "outcome": self.outcome,
            "status": self.status,
            "latencyMs": self.latency_ms,
            "reference": self.reference,
            "maybeBilled": self.maybe_billed,
        }


@dataclass(frozen=True, slots=True)
class Opened:
    """A candidate that answers. Whoever gets it closes the answer, however it ends."""

    candidate: Candidate
    answer: Answer
    attempts: list[Attempt]


class AllFailed(Exception):
    """Every candidate failed before its first byte"""

    def __init__(self, attempts: list[Attempt], last: ProviderError) -> None:
        self.attempts = attempts
        self.last = last
        super().__init__(f"{len(attempts)} attempts, the last: {last}")

    def as_error(self) -> AiError | AiTimeout:
        """What the client is told: nothing about any upstream."""
        return AiTimeout() if isinstance(self.last, UpstreamTimeout) else AiError()


class GatewayClient:
    """Opens upstreams for one event loop, over one shared transport."""

    def __init__(self, providers: Mapping[str, Provider], *, total_seconds: float) -> None:
        """`providers` by the upstream's kind; `total_seconds` bounds all attempts of one call."""
        self._providers = providers
        self._total_seconds = total_seconds

    async def open(
        self,
        candidates: Iterable[Candidate],
        call_for: CallFor,
        *,
        attempts: list[Attempt] | None = None,
    ) -> Opened:
        """The first candidate that begins to answer.

        Appends to `attempts` as it goes, so that a caller who is cancelled meanwhile still knows
        what was tried. Raises AllFailed.
        """
        tried = [] if attempts is None else attempts
        clock = asyncio.get_running_loop().time
        started = clock()
        failure: ProviderError = UpstreamUnreachable("there is no candidate")
        for candidate in candidates:
            began = clock()
            seconds = self._total_seconds - (began - started)
            if seconds <= 0:
                break
            try:
                answer = await self._provider(candidate).open(
                    candidate.route, call_for(candidate), seconds=seconds
                )
            except ProviderError as exc:
                failure = exc
                tried.append(_failed(candidate, exc, _ms(clock() - began)))
                _log(tried[-1], exc)
            except asyncio.CancelledError:
                tried.append(_cancelled(candidate, _ms(clock() - began)))
                raise
            else:
                tried.append(_answered(candidate, answer, _ms(clock() - began)))
                return Opened(candidate, answer, tried)
        raise AllFailed(tried, failure)

    def note_break(self, opened: Opened, failure: ProviderError) -> None:
        """Record that an answer broke off after it had begun: its attempt was not ok after all."""
        latency_ms = opened.attempts[-1].latency_ms
        opened.attempts[-1] = _failed(opened.candidate, failure, latency_ms)
        _log(opened.attempts[-1], failure)

    def _provider(self, candidate: Candidate) -> Provider:
        kind = candidate.route.upstream.kind
        provider = self._providers.get(kind)
        if provider is None:
            raise UpstreamUnreachable(f"there is no provider for upstreams of kind {kind}")
        return provider


def client() -> GatewayClient:
    """The client of the running event loop, made at its first use."""
    return _own()[0]


async def close() -> None:
    """Close the running event loop's upstream connections; streams still open break off."""
    entry = _clients.pop(asyncio.get_running_loop(), None)
    if entry is not None:
        await entry[1].aclose()


# A connection belongs to the event loop that opened it.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[GatewayClient, Transport]] = (
    WeakKeyDictionary()
)


def _own() -> tuple[GatewayClient, Transport]:
    loop = asyncio.get_running_loop()
    entry = _clients.get(loop)
    if entry is None:
        total_seconds = settings.UPSTREAM_TOTAL_TIMEOUT_SECONDS
        transport = Transport(allowed=parse_networks(settings.UPSTREAM_ALLOWED_NETWORKS))
        providers: dict[str, Provider] = {
            "openai": OpenAIProvider(transport),
            "demo": DemoProvider(),
        }
        entry = GatewayClient(providers, total_seconds=total_seconds), transport
        _clients[loop] = entry
    return entry


def _answered(candidate: Candidate, answer: Answer, latency_ms: int) -> Attempt:
    return Attempt(
        upstream=candidate.route.upstream.name,
        model=candidate.model.public_id,
        outcome="ok",
        status=answer.status,
        latency_ms=latency_ms,
        reference=answer.reference,
        maybe_billed=False,
    )


def _failed(candidate: Candidate, failure: ProviderError, latency_ms: int) -> Attempt:
    return Attempt(
        upstream=candidate.route.upstream.name,
        model=candidate.model.public_id,
        outcome=failure.outcome,
        status=failure.status,
        latency_ms=latency_ms,
        reference=failure.reference,
        maybe_billed=failure.maybe_billed,
    )


def _cancelled(candidate: Candidate, latency_ms: int) -> Attempt:
    return Attempt(
        upstream=candidate.route.upstream.name,
        model=candidate.model.public_id,
        outcome="cancelled",
        status=None,
        latency_ms=latency_ms,
        reference=None,
        # Nobody can tell how far the request had got.
        maybe_billed=True,
    )


def _log(attempt: Attempt, failure: ProviderError) -> None:
    log.warning("upstream_failed", **attempt.as_json(), excerpt=failure.excerpt)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
