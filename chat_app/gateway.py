"""The one way to a model: tries candidates in order until one answers, and records every attempt.

Asks again what may safely be asked again, and falls back only before the first byte; what comes
after it is the caller's stream. Chooses no model (routing.py), charges nothing (chat_stream.py),
and speaks to no upstream itself (providers/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from random import random
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings

from chat_app import retries
from chat_app.attempts import Attempt
from chat_app.circuit_rows import CircuitRows
from chat_app.circuits import CircuitOpen, Circuits
from chat_app.errors import AiError, AiTimeout
from chat_app.providers.base import (
    Answer,
    Provider,
    ProviderError,
    UpstreamCall,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from chat_app.providers.http import Transport
from chat_app.providers.kinds import own_transport, providers_over
from chat_app.routing import Candidate
from chat_app.upstream_minutes import UpstreamMinutes

log = structlog.get_logger(__name__)

# What to ask of a candidate; it may differ in the output cap and in what the upstream is told.
CallFor = Callable[[Candidate], UpstreamCall]
# A fallback as it is now, or None: it may not be used any more.
Recheck = Callable[[Candidate], Awaitable[Candidate | None]]


@dataclass(frozen=True, slots=True)
class Opened:
    """A candidate that answers. Whoever gets it closes the answer, however it ends."""

    candidate: Candidate
    answer: Answer
    attempts: list[Attempt]


class AllFailed(Exception):
    """Every candidate failed before its first byte"""

    def __init__(
        self, attempts: list[Attempt], last: ProviderError, candidate: Candidate | None
    ) -> None:
        """`candidate` is the one that failed last, None if there was none."""
        self.attempts = attempts
        self.last = last
        self.candidate = candidate
        super().__init__(f"{len(attempts)} attempts, the last: {last}")

    def as_error(self) -> AiError | AiTimeout:
        """What the client is told: nothing about any upstream."""
        return AiTimeout() if isinstance(self.last, UpstreamTimeout) else AiError()


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds all attempts of one call together, and how often one upstream is asked again."""

    total_seconds: float
    retries: int = 0


@dataclass(slots=True)
class _Opening:
    """One call of `open` under way."""

    tenant_id: int
    call_for: CallFor
    attempts: list[Attempt]
    deadline: float
    clock: Callable[[], float]
    began: float

    @property
    def left_seconds(self) -> float:
        return self.deadline - self.clock()

    def since_ms(self, began: float) -> int:
        return round((self.clock() - began) * 1000)


class GatewayClient:
    """Opens upstreams for one event loop, over one shared transport."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        limits: Limits,
        circuits: Circuits,
        minutes: UpstreamMinutes,
    ) -> None:
        """`providers` by the upstream's kind."""
        self._providers = providers
        self._limits = limits
        self._circuits = circuits
        self._minutes = minutes

    async def open(
        self,
        candidates: Iterable[Candidate],
        call_for: CallFor,
        *,
        tenant_id: int,
        attempts: list[Attempt] | None = None,
        recheck: Recheck | None = None,
    ) -> Opened:
        """The first candidate that begins to answer.

        Every candidate but the first is asked about with `recheck` when its turn comes. Appends to
        `attempts` as it goes, so that a caller who is cancelled meanwhile still knows what was
        tried. Raises AllFailed.
        """
        clock = asyncio.get_running_loop().time
        tried = [] if attempts is None else attempts
        now = clock()
        deadline = now + self._limits.total_seconds
        opening = _Opening(tenant_id, call_for, tried, deadline, clock, now)
        failure: ProviderError = UpstreamUnreachable("there is no candidate")
        last: Candidate | None = None
        for place, named in enumerate(candidates):
            if opening.left_seconds <= 0:
                break
            candidate = await recheck(named) if place and recheck else named
            if candidate is None:
                opening.attempts.append(Attempt.passed_over(named))
                continue
            try:
                return await self._open_one(candidate, opening)
            except ProviderError as exc:
                failure, last = exc, candidate
        raise AllFailed(opening.attempts, failure, last)

    def note_break(self, opened: Opened, failure: ProviderError) -> None:
        """Record that an answer broke off after it had begun: its attempt was not ok after all."""
        last = opened.attempts[-1]
        attempt = Attempt.failed(opened.candidate, failure, last.latency_ms)
        opened.attempts[-1] = replace(attempt, began_ms=last.began_ms)
        self._minutes.note_cut(opened.candidate.route.upstream.id, attempt, failure.excerpt)
        _log(attempt, failure)

    async def _open_one(self, candidate: Candidate, opening: _Opening) -> Opened:
        """This candidate, asked as often as is safe and worth it. Raises its last ProviderError."""
        upstream = candidate.route.upstream
        retried = 0
        while True:
            try:
                return Opened(candidate, await self._ask(candidate, opening), opening.attempts)
            except ProviderError as failure:
                pause = retries.pause_before_retry(
                    failure,
                    retried,
                    allowed=self._limits.retries,
                    left_seconds=opening.left_seconds,
                    draw=random(),  # noqa: S311 - spreads load, guards nothing
                )
                if pause is None or self._circuits.is_open(upstream, opening.tenant_id):
                    raise
            await asyncio.sleep(pause)
            retried += 1

    async def _ask(self, candidate: Candidate, opening: _Opening) -> Answer:
        """One attempt, recorded whatever comes of it."""
        upstream = candidate.route.upstream
        if not self._circuits.admit(upstream, opening.tenant_id):
            refusal = CircuitOpen()
            self._note(opening, candidate, Attempt.failed(candidate, refusal, 0))
            raise refusal
        began = opening.clock()
        try:
            answer = await self._provider(candidate).open(
                candidate.route, opening.call_for(candidate), seconds=opening.left_seconds
            )
        except ProviderError as failure:
            self._circuits.failed(upstream, opening.tenant_id, failure)
            attempt = Attempt.failed(candidate, failure, opening.since_ms(began))
            self._note(opening, candidate, attempt, failure.excerpt)
            _log(attempt, failure)
            raise
        except BaseException:
            self._circuits.left(upstream, opening.tenant_id)
            attempt = Attempt.cancelled(candidate, opening.since_ms(began))
            self._note(opening, candidate, attempt)
            raise
        self._circuits.answered(upstream, opening.tenant_id)
        attempt = Attempt.answered(candidate, answer, opening.since_ms(began))
        self._note(opening, candidate, attempt)
        return answer

    def _note(
        self, opening: _Opening, candidate: Candidate, attempt: Attempt, message: str = ""
    ) -> None:
        """Record an attempt: for the entry of the request, and for those who watch upstreams."""
        began_ms = opening.since_ms(opening.began) - attempt.latency_ms
        opening.attempts.append(replace(attempt, began_ms=began_ms))
        self._minutes.note(candidate.route.upstream.id, attempt, message)

    def _provider(self, candidate: Candidate) -> Provider:
        kind = candidate.route.upstream.kind
        provider = self._providers.get(kind)
        if provider is None:
            raise UpstreamUnreachable(f"there is no provider for upstreams of kind {kind}")
        return provider


@dataclass(frozen=True, slots=True)
class _Own:
    """What belongs to one event loop: a connection lives in the loop that opened it."""

    client: GatewayClient
    transport: Transport
    circuit_rows: CircuitRows
    minutes: UpstreamMinutes


def client() -> GatewayClient:
    """The client of the running event loop, made at its first use."""
    loop = asyncio.get_running_loop()
    own = _owned.get(loop)
    if own is None:
        own = _owned[loop] = _make(loop)
    return own.client


async def close() -> None:
    """Close the running event loop's upstream connections; streams still open break off."""
    own = _owned.pop(asyncio.get_running_loop(), None)
    if own is not None:
        await own.transport.aclose()
        await own.circuit_rows.aclose()
        await own.minutes.aclose()


_owned: WeakKeyDictionary[asyncio.AbstractEventLoop, _Own] = WeakKeyDictionary()


def _make(loop: asyncio.AbstractEventLoop) -> _Own:
    transport = own_transport()
    limits = Limits(settings.UPSTREAM_TOTAL_TIMEOUT_SECONDS, settings.UPSTREAM_RETRIES)
    rows, minutes = CircuitRows(), UpstreamMinutes()
    circuits = Circuits(loop.time, rows.note)
    own_client = GatewayClient(providers_over(transport), limits, circuits, minutes)
    return _Own(own_client, transport, rows, minutes)


def _log(attempt: Attempt, failure: ProviderError) -> None:
    log.warning("upstream_failed", **attempt.as_json(), excerpt=failure.excerpt)
