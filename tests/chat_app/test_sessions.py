"""What a session remembers, straight from the database: order, bounds, and what was deleted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from django.db import connection

from chat_app import session_pages, sessions
from chat_app.context import Room
from chat_app.models import ChatMessage, ForgottenSession
from chat_app.schema import Message
from chat_app.session_query import PageCall, Place
from tenants_app import database, directory
from tenants_app.models import Tenant
from tenants_app.snapshots import Caller
from tenants_app.tracing import uuid7
from tests.chat_app.remembered import SESSION, remember, texts
from tests.factories import make_tenant
from tests.loops import run

pytestmark = pytest.mark.django_db(transaction=True)

ROOM = Room(messages=20, tokens=8_000)
NIL = UUID(int=0)
NEWEST = PageCall()


@pytest.fixture
def acme() -> Tenant:
    return make_tenant("acme")


async def caller_of(tenant: Tenant) -> Caller:
    found = await directory.by_slug(tenant.slug)
    assert found is not None
    return found


def recalled(tenant: Tenant, room: Room = ROOM, session: UUID = SESSION) -> list[str]:
    async def recall() -> list[str]:
        earlier = await sessions.recall(await caller_of(tenant), session, room)
        return [message.content for message in earlier]

    return run(recall())


def append(tenant: Tenant, *turns: tuple[UUID, str], session: UUID = SESSION) -> None:
    """Turns that end in this order, all in one batch or two."""

    async def append_all() -> None:
        caller = await caller_of(tenant)
        for turn_id, text in turns:
            said = [Message("user", text), Message("assistant", f"{text}!")]
            sessions.append(caller, session, turn_id, said)
        await sessions.drain()

    run(append_all())


def forget(tenant: Tenant, turn_id: UUID, session: UUID = SESSION) -> int:
    async def forget_it() -> int:
        return await session_pages.forget(await caller_of(tenant), session, turn_id)

    return run(forget_it())


def page(tenant: Tenant, call: PageCall = NEWEST, session: UUID = SESSION) -> Any:
    async def read() -> Any:
        return await session_pages.page(await caller_of(tenant), session, call)

    return run(read())


def test_turns_keep_the_order_in_which_they_arrived(acme: Tenant) -> None:
    first, second, third = uuid7(), uuid7(), uuid7()
    append(acme, (third, "three"), (first, "one"))
    append(acme, (second, "two"))
    in_order = ["one", "one!", "two", "two!", "three", "three!"]
    assert texts(acme) == recalled(acme) == in_order
    assert [m.content for m in page(acme).messages] == in_order[::-1]


@pytest.mark.parametrize(
    ("room", "last"),
    [
        (Room(messages=4, tokens=8_000), 4),
        (Room(messages=20, tokens=100), 4),
        (Room(messages=20, tokens=99), 2),
        (Room(messages=20, tokens=0), 0),
        (Room(messages=0, tokens=8_000), 0),
    ],
)
def test_no_more_is_recalled_than_there_is_room_for(acme: Tenant, room: Room, last: int) -> None:
    said = [letter * 100 for letter in "abcdef"]
    for n in range(0, len(said), 2):
        remember(acme, *said[n : n + 2])
    assert recalled(acme, room) == said[len(said) - last :]


@pytest.mark.parametrize("letter", ["a", "é", "語", "🜂"])
def test_text_of_any_width_is_measured_in_characters(acme: Tenant, letter: str) -> None:
    remember(acme, letter * 400, letter * 400)
    remember(acme, letter * 400, letter * 400)
    assert len(recalled(acme, Room(messages=20, tokens=399))) == 2
    assert len(recalled(acme, Room(messages=20, tokens=400))) == 4


def explained(query: str, values: Any) -> tuple[str, dict[str, Any]]:
    """The plan's text, and its top node as executed."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", values)
        (plan,) = cursor.fetchone()[0]
    return orjson.dumps(plan).decode(), plan["Plan"]


def fill(tenant: Tenant, content: str, *, turns: int, spread: int = 1) -> None:
    """Messages of SESSION and of `spread` sessions more; `content` is SQL."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO chat_app_chatmessage (tenant_id, session_id, turn_id, role, content)
            SELECT %s, CASE WHEN s = 0 THEN %s ELSE gen_random_uuid() END,
                gen_random_uuid(), 'user', {content}
            FROM generate_series(0, %s) s, generate_series(1, %s) t
            """,
            [tenant.pk, SESSION, spread, turns],
        )
        cursor.execute("ANALYZE chat_app_chatmessage")


LONG = "(SELECT string_agg(md5(concat(s, t, g)), '') FROM generate_series(1, 6250) g)"


def test_long_texts_are_not_read_to_be_thrown_away(acme: Tenant) -> None:
    fill(acme, LONG, turns=20, spread=0)
    wanted = [
        {
            "n": 0,
            "tenant_id": acme.pk,
            "session_id": SESSION,
            "days": 30,
            "messages": 20,
            "bytes": ROOM.bytes,
        }
    ]
    query = sessions._READ.sql.decode().replace("$1", "%s")

    text, plan = explained(query, [orjson.dumps(wanted).decode()])

    assert {len(text) for text in texts(acme)} == {sessions.STORED_CHARACTERS}
    # All of them would be some 500 pages and more.
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 60, text


def test_sessions_are_read_along_their_index(acme: Tenant) -> None:
    fill(acme, "'hello'", turns=20, spread=500)
    place = {"tenant": acme.pk, "session": SESSION, "days": 30, "limit": 5}
    for before in (NEWEST.before, Place(UUID(int=2**127), 7)):
        values = place | {"turn": before.turn_id, "id": before.id}
        text, plan = explained(session_pages._PAGE, values)
        assert "message_newest_turn_first" in text
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 60, text


def test_age_counts_before_anything_is_pruned(acme: Tenant) -> None:
    now = datetime.now(UTC)
    remember(acme, "old", "old!", at=now - timedelta(days=30, minutes=1))
    remember(acme, "new", "new!", at=now - timedelta(days=29, hours=23))
    assert recalled(acme) == ["new", "new!"]
    assert [m.content for m in page(acme).messages] == ["new!", "new"]
    assert page(acme, PageCall(limit=2)).more is False


def test_session_of_which_all_is_too_old_is_none(acme: Tenant) -> None:
    remember(acme, "old", at=datetime.now(UTC) - timedelta(days=31))
    assert page(acme) is None


def test_deleted_session_takes_back_no_turn_that_began_before(acme: Tenant) -> None:
    slow = uuid7()
    append(acme, (uuid7(), "one"))
    deletion = uuid7()
    assert forget(acme, deletion) == 2
    append(acme, (slow, "slow"), (uuid7(), "new"))
    assert texts(acme) == recalled(acme) == ["new", "new!"]
    assert forget(acme, uuid7()) == 2
    assert forget(acme, uuid7()) == 0


def test_deletion_that_comes_late_does_not_undo_a_later_one(acme: Tenant) -> None:
    early, slow, late = uuid7(), uuid7(), uuid7()
    forget(acme, late)
    forget(acme, early)
    append(acme, (slow, "slow"))
    assert texts(acme) == []
    assert ForgottenSession.objects.get().turn_id == late


def test_what_was_written_beside_a_deletion_is_not_seen(acme: Tenant) -> None:
    slipped = remember(acme, "slipped", "through")
    ForgottenSession.objects.create(tenant=acme, session_id=SESSION, turn_id=slipped)
    assert recalled(acme) == []
    assert page(acme) is None


def test_deletion_is_the_tenants_and_the_sessions(acme: Tenant) -> None:
    globex, other = make_tenant("globex"), uuid4()
    for tenant in (acme, globex):
        for session in (SESSION, other, NIL):
            append(tenant, (uuid7(), f"of {tenant}"), session=session)
    assert forget(acme, uuid7()) == 2
    assert recalled(acme) == []
    kept = [recalled(t, session=s) for t, s in ((acme, other), (acme, NIL), (globex, SESSION))]
    assert kept == [["of acme", "of acme!"], ["of acme", "of acme!"], ["of globex", "of globex!"]]


def test_long_session_is_deleted_whole(acme: Tenant) -> None:
    fill(acme, "'hello'", turns=session_pages.DELETED_AT_ONCE + 7, spread=1)
    assert forget(acme, uuid7()) == session_pages.DELETED_AT_ONCE + 7
    assert ChatMessage.objects.count() == session_pages.DELETED_AT_ONCE + 7


def test_page_of_long_messages_ends_early_and_goes_on(acme: Tenant) -> None:
    size = session_pages.PAGE_BYTES * 2 // 5
    for letter in "abcd":
        remember(acme, letter * size)
    remember(acme, "é" * session_pages.PAGE_BYTES)
    told, call = [], NEWEST
    while True:
        found = page(acme, call)
        told.append("".join(message.content[0] for message in found.messages))
        if not found.more:
            break
        call = PageCall(before=found.messages[-1].place)
    assert told == ["é", "dcb", "a"]


def test_page_behind_the_end_is_empty(acme: Tenant) -> None:
    turn = remember(acme, "hello")
    behind = page(acme, PageCall(before=Place(turn, 0)))
    assert (behind.messages, behind.more) == ((), False)


def test_without_memory_nothing_is_read_or_written(acme: Tenant) -> None:
    remember(acme, "before")
    Tenant.objects.filter(pk=acme.pk).update(session_memory=False)
    append(acme, (uuid7(), "said"))
    assert texts(acme) == ["before"]
    assert recalled(acme) == []
    assert page(acme) is None
    assert forget(acme, uuid7()) == 1


@pytest.mark.parametrize("gone", [True, False])
def test_memory_that_is_switched_off_under_a_turn_takes_none_of_it(
    acme: Tenant, *, gone: bool
) -> None:
    """The turn's snapshot is of before."""
    globex = make_tenant("globex")

    async def append_to_both() -> None:
        callers = [await caller_of(tenant) for tenant in (acme, globex)]
        async with database.pool().connection() as db:
            await db.execute(
                "DELETE FROM tenants_app_tenant WHERE id = %s"
                if gone
                else "UPDATE tenants_app_tenant SET session_memory = false WHERE id = %s",
                (acme.pk,),
            )
        for caller in callers:
            sessions.append(caller, SESSION, uuid7(), [Message("user", "private")])
        await sessions.drain()

    run(append_to_both())
    assert (texts(acme), texts(globex)) == ([], ["private"])


def test_parallel_sessions_are_read_in_one_batch_each_its_own(acme: Tenant) -> None:
    globex = make_tenant("globex")
    names = [(tenant, uuid4()) for tenant in (acme, globex) for _ in range(20)]
    for tenant, session in names:
        remember(tenant, f"{tenant} {session}", session=session)

    async def recall_all() -> list[str]:
        callers = {tenant: await caller_of(tenant) for tenant in (acme, globex)}
        found = await asyncio.gather(
            *(sessions.recall(callers[tenant], session, ROOM) for tenant, session in names)
        )
        return [messages[0].content for messages in found]

    assert run(recall_all()) == [f"{tenant} {session}" for tenant, session in names]
