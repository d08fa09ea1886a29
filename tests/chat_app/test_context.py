"""What of a session is sent along."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_app import context, tokens
from chat_app.context import Room
from chat_app.routing import Candidate
from chat_app.schema import ChatCall, Message
from tenants_app.snapshots import TenantSnapshot
from tests.chat_app.snapshots import model, route
from tests.live import SESSION_ID

UNLIMITED = Room(messages=1_000, tokens=1_000_000)


def said(*lengths: int) -> list[Message]:
    """A conversation of these lengths, in characters; it begins with the user."""
    roles = ("user", "assistant")
    return [Message(roles[n % 2], "x" * length) for n, length in enumerate(lengths)]


@pytest.mark.parametrize(
    ("room", "kept"),
    [
        (UNLIMITED, 4),
        (Room(messages=4, tokens=10), 4),
        (Room(messages=3, tokens=10), 2),
        (Room(messages=1, tokens=10), 0),
        (Room(messages=0, tokens=10), 0),
        (Room(messages=4, tokens=9), 2),
        (Room(messages=4, tokens=5), 2),
        (Room(messages=4, tokens=4), 0),
        (Room(messages=4, tokens=0), 0),
    ],
)
def test_newest_whole_messages_are_kept(room: Room, kept: int) -> None:
    messages = said(4, 16, 8, 12)  # 1, 4, 2 and 3 tokens
    assert context.newest(messages, room) == tuple(messages[4 - kept :])


def test_message_that_does_not_fit_hides_those_before_it() -> None:
    messages = said(4, 4, 400, 4, 4, 4)
    assert context.newest(messages, Room(messages=10, tokens=50)) == tuple(messages[4:])


def test_users_whose_turns_failed_stay() -> None:
    messages = [Message("user", "hello"), Message("user", "hello")]
    assert context.newest(messages, UNLIMITED) == tuple(messages)


messages_of_all_kinds = st.lists(
    st.builds(Message, st.sampled_from(["user", "assistant"]), st.text(max_size=40)), max_size=12
)


@given(messages_of_all_kinds, st.integers(0, 13), st.integers(0, 60))
def test_context_is_the_longest_end_that_the_room_holds(
    messages: list[Message], most: int, most_tokens: int
) -> None:
    def fits(kept: tuple[Message, ...]) -> bool:
        opens_well = not kept or kept[0].role == "user"
        return opens_well and len(kept) <= most and tokens.estimate(kept) <= most_tokens

    ends = [tuple(messages[n:]) for n in range(len(messages) + 1)]
    kept = context.newest(messages, Room(messages=most, tokens=most_tokens))
    assert kept == max(filter(fits, ends), key=len)


@given(messages_of_all_kinds, st.integers(0, 60))
def test_bytes_of_the_room_leave_out_nothing_that_fits(
    messages: list[Message], most_tokens: int
) -> None:
    room = Room(messages=20, tokens=most_tokens)
    kept = context.newest(messages, room)
    assert sum(len(message.content.encode()) for message in kept) <= room.bytes


def candidate(name: str, **sizes: int) -> Candidate:
    return Candidate(replace(model(name), **sizes), route(name), "tenant")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "candidates", "left"),
    [
        ({}, [candidate("a")], 500),
        ({}, [candidate("a", context_window=2_000, default_output=100)], 500),
        ({}, [candidate("a", context_window=200, default_output=100)], 98),
        ({"max_tokens": 150}, [candidate("a", context_window=200, default_output=100)], 48),
        ({"max_tokens": 900}, [candidate("a", context_window=200, max_output=160)], 38),
        ({}, [candidate("a", context_window=50, default_output=100)], 0),
        ({}, [candidate("a", default_output=10), candidate("b", context_window=60)], 48),
        (
            {"max_tokens": 900},
            [candidate("a"), candidate("b", context_window=60, max_output=20)],
            38,
        ),
    ],
)
def test_room_is_what_the_smallest_window_has_left(
    asked: dict[str, int], candidates: list[Candidate], left: int
) -> None:
    tenant = TenantSnapshot(id=1, slug="acme", context_tokens=500)
    call = ChatCall(session_id=SESSION_ID, message="hello", **asked)  # type: ignore[arg-type]
    assert context.room(tenant, call, candidates) == Room(messages=20, tokens=left)


def test_room_is_within_what_a_session_keeps() -> None:
    tenant = TenantSnapshot(id=1, slug="acme", context_messages=20, max_messages_per_session=4)
    call = ChatCall(session_id=SESSION_ID, message="hello")  # type: ignore[arg-type]
    assert context.room(tenant, call, [candidate("a")]).messages == 4
