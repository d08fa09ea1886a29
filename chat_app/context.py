"""What of a session is sent along: the newest whole messages within a budget of messages and
tokens. PURE; it knows no database. Tokens are estimates (tokens.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat_app import tokens

if TYPE_CHECKING:
    from chat_app.routing import Candidate
    from chat_app.schema import ChatCall, Message
    from tenants_app.snapshots import TenantSnapshot

# UTF-8 at its longest: text of so many bytes has at least a quarter as many characters.
BYTES_PER_CHARACTER = 4


@dataclass(frozen=True, slots=True)
class Room:
    """How much of the past may be sent along, at most."""

    messages: int
    tokens: int

    def __bool__(self) -> bool:
        return self.messages > 0 and self.tokens > 0

    @property
    def bytes(self) -> int:
        """No text of more bytes than this is within the tokens."""
        return self.tokens * tokens.CHARACTERS_PER_TOKEN * BYTES_PER_CHARACTER


def room(tenant: TenantSnapshot, call: ChatCall, candidates: Sequence[Candidate]) -> Room:
    """The tenant's budget, and of it what fits beside the new message and the answer in the
    smallest window of the candidates' models: a fallback is sent the same.
    """
    asked = tokens.estimate_characters(len(call.message))
    first = candidates[0].model
    answer = min(tokens.wanted_output(call, first), first.max_output)
    left = [
        window - asked - min(answer, candidate.model.max_output)
        for candidate in candidates
        if (window := candidate.model.context_window) is not None
    ]
    return Room(
        messages=min(tenant.context_messages, tenant.max_messages_per_session),
        tokens=max(min(tenant.context_tokens, *left), 0) if left else tenant.context_tokens,
    )


def newest(messages: Sequence[Message], room: Room) -> tuple[Message, ...]:
    """The end of `messages`, which are the oldest first, that the room holds.

    Without gaps, and never with an answer at its beginning: providers refuse that.
    """
    first = len(messages)
    left = room.tokens
    while first > 0 and len(messages) - first < room.messages:
        left -= tokens.estimate_characters(len(messages[first - 1].content))
        if left < 0:
            break
        first -= 1
    while first < len(messages) and messages[first].role == "assistant":
        first += 1
    return tuple(messages[first:])
