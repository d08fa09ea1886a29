"""What every provider is to the rest of chat_app: a Protocol, the events of an answer, the errors.

ProviderError
├── UpstreamUnreachable    nothing was sent: refused, DNS, TLS, connect timeout, forbidden address
├── UpstreamTimeout        it did not answer, or fell silent, in time
├── UpstreamRejected       it refused the request: 3xx and 4xx
│   └── UpstreamRateLimited    429
├── UpstreamBroken         5xx, an answer we cannot read, or one cut short
└── CircuitOpen            it was not asked; see circuits.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

if TYPE_CHECKING:
    from chat_app.schema import Message
    from tenants_app.snapshots import RouteSnapshot, UpstreamSnapshot
    from usage_app.pricing import UsageFigures

# An intermediary says with these that it lost an answer which may have been made, and billed.
LOST_ANSWER_STATUSES = frozenset({408, 502, 504, 524})


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of an answer told: its status, the upstream's name for it, and `notes`: what an
    intermediary says of how it came about, for the ledger entry.
    """

    status: int
    reference: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """What to ask. `metadata` (tenantId, traceId, sessionId, route) tells the upstream for whom."""

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    stream: bool = True
    user: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to show, never empty and free of NUL and half surrogate pairs."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Why the model stopped: stop, length, content_filter … At most one per answer."""

    reason: str


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The provider's count so far, never all zero. A later one replaces an earlier one."""

    usage: UsageFigures


Event = Delta | Finished | UsageReport


class Answer(Protocol):
    """An answer that has begun with status 200.

    `async for events in answer` gives the events of one network read at a time, in order and never
    none, so that a burst costs its relay one turn. Raises ProviderError if the answer breaks off;
    all events before that point have been given. A read that is cancelled loses nothing and may be
    begun again. An answer that was not streamed is a single batch. Whoever opened it closes it.
    """

    status: int
    reference: str | None
    notes: Mapping[str, str]  # see Head

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Sequence[Event]: ...

    async def aclose(self) -> None:
        """Let go of the upstream, at any time and any number of times; ends a read under way.

        Never waits for the network, so it may be called while being cancelled.
        """


@dataclass(slots=True)
class WholeAnswer:
    """An answer that came in one piece: a single batch, and nothing left to close."""

    status: int
    reference: str | None
    events: Sequence[Event]
    notes: Mapping[str, str] = field(default_factory=dict)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Event]:
        events, self.events = self.events, ()
        if not events:
            raise StopAsyncIteration
        return events

    async def aclose(self) -> None:
        """See Answer.aclose."""
        self.events = ()


class Provider(Protocol):
    """One kind of upstream."""

    async def open(self, route: RouteSnapshot, call: UpstreamCall, *, seconds: float) -> Answer:
        """The answer, once it has begun: its head was good and, streamed, its first event too.

        `seconds` is what the call has left; it bounds the whole exchange, whatever the upstream's
        own timeouts say. Raises ProviderError before the answer. Cancelled, it closes its
        connection.
        """

    async def models(self, upstream: UpstreamSnapshot, *, seconds: float) -> tuple[str, ...]:
        """The names of the models that the upstream says it has, as an operator asks for them.

        Sorted, bounded, and each fit to be a model's name. Raises ProviderError.
        """


class ProviderError(Exception):
    """The upstream failed"""

    outcome: ClassVar[str] = "error"

    def __init__(
        self,
        excerpt: str = "",
        *,
        head: Head | None = None,
        sent: bool = True,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """`excerpt` is bounded and redacted; `head` is that of the answer, if there was one.

        `sent` tells whether the request may have arrived; `retryable`, whether the same upstream
        may safely and usefully be asked again; `retry_after`, when it wants to be, in seconds.
        """
        self.excerpt = excerpt
        self.status = head.status if head else None
        self.reference = head.reference if head else None
        self.notes: Mapping[str, str] = head.notes if head else {}
        self.sent = sent
        self.retryable = retryable
        self.retry_after = retry_after
        super().__init__(excerpt)

    @property
    def maybe_billed(self) -> bool:
        """Whether the provider may bill for it: the request went out, and no status denies it."""
        return self.sent and (self.status in (None, 200) or self.status in LOST_ANSWER_STATUSES)


class UpstreamUnreachable(ProviderError):
    """The upstream could not be reached"""

    outcome = "unreachable"

    def __init__(self, excerpt: str = "", *, retryable: bool = False) -> None:
        super().__init__(excerpt, sent=False, retryable=retryable)


class UpstreamTimeout(ProviderError):
    """The upstream did not answer in time"""

    outcome = "timeout"


class UpstreamRejected(ProviderError):
    """The upstream refused the request"""

    outcome = "rejected"


class UpstreamRateLimited(UpstreamRejected):
    """The upstream's rate limit is reached"""

    outcome = "rate_limited"


class UpstreamBroken(ProviderError):
    """The upstream failed, or its answer could not be read to its end"""

    outcome = "broken"
