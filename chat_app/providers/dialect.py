"""What exchange.py must know of a provider: how its bytes are read, its refusals judged. PURE."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from chat_app.providers.base import Event
from chat_app.sse import Frame


class Unreadable(ValueError):
    """The answer is not in a shape we know; the text says what of it, and quotes nothing."""


class Reader(Protocol):
    """Makes events of one answer's bytes, and remembers what has been seen of it."""

    begun: bool  # a part of an answer was seen
    done: bool  # the end mark was: whatever follows is not read
    finished: bool  # a reason for the end was: nothing but usage may follow
    error: bytes | None  # the error that came in place of more
    usage_problem: str | None  # why usage was ignored

    @property
    def complete(self) -> bool:
        """Whether the answer said in some way that it is whole."""

    def read(self, frames: Iterable[Frame], events: list[Event]) -> None:
        """Append the events of these frames; stops at the end and at an error. Raises Unreadable,
        with the events before that appended.
        """

    def read_whole(self, body: bytes) -> list[Event]:
        """The events of an answer that was not streamed. Raises Unreadable."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an upstream's own code makes of a refusal; `retryable` None: what its status says."""

    status: int
    timeout: bool = False
    retryable: bool | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of upstream speaks.

    `judge` gets the status and the body of a refusal, or 200 and an error in place of an answer;
    None: the status says it all. `notes` picks from the headers that the transport kept, which are
    not to be trusted.
    """

    reader: Callable[[], Reader]
    judge: Callable[[int, bytes], Refusal | None]
    notes: Callable[[Mapping[str, str]], Mapping[str, str]]
