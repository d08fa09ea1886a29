"""How long sessions are kept: by age, by number, in bounded steps, each tenant by its own rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat_app import retention, tasks
from chat_app.models import ChatMessage, ForgottenSession
from tenants_app.tracing import uuid7
from tests.chat_app.remembered import SESSION, remember, texts
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db

NIL, LAST = UUID(int=0), UUID(int=2**128 - 1)


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def test_messages_go_by_their_tenants_age() -> None:
    acme = make_tenant("acme", session_retention_days=1)
    globex = make_tenant("globex", session_retention_days=3)
    for tenant in (acme, globex):
        for hours in (73, 71, 25, 23):
            remember(tenant, f"{hours} h ago", at=ago(hours=hours))

    assert retention.prune() == 4

    assert texts(acme) == ["23 h ago"]
    assert texts(globex) == ["71 h ago", "25 h ago", "23 h ago"]
    assert retention.prune() == 0


@pytest.mark.parametrize("session", [SESSION, NIL, LAST])
def test_turns_go_by_their_tenants_number_a_session(session: UUID) -> None:
    acme = make_tenant("acme", max_messages_per_session=4)
    globex = make_tenant("globex", max_messages_per_session=6)
    for tenant in (acme, globex):
        for text in "abcd":
            remember(tenant, text, f"{text}!", session=session)
        remember(tenant, "other", session=uuid4())

    assert retention.prune() == 6

    assert texts(acme, session) == ["c", "c!", "d", "d!"]
    assert texts(globex, session) == ["b", "b!", "c", "c!", "d", "d!"]
    assert ChatMessage.objects.filter(content="other").count() == 2


@pytest.mark.parametrize(
    ("most", "left"), [(2, ["d", "d!"]), (3, ["d", "d!"]), (5, ["c", "c!", "d", "d!"])]
)
def test_half_of_a_turn_is_not_kept(most: int, left: list[str]) -> None:
    acme = make_tenant("acme", max_messages_per_session=most)
    for text in "abcd":
        remember(acme, text, f"{text}!")
    retention.prune()
    assert texts(acme) == left


def test_what_arrived_first_goes_first_whatever_was_written_last() -> None:
    acme = make_tenant("acme", max_messages_per_session=2)
    remember(acme, "new", "new!")
    ChatMessage.objects.create(
        tenant=acme, session_id=SESSION, turn_id=UUID(int=7), role="user", content="slow"
    )
    retention.prune()
    assert texts(acme) == ["new", "new!"]


def test_tenant_without_memory_keeps_nothing() -> None:
    acme, globex = make_tenant("acme", session_memory=False), make_tenant("globex")
    for tenant in (acme, globex):
        remember(tenant, "hello", "hi")
    assert retention.prune() == 2
    assert (texts(acme), texts(globex)) == ([], ["hello", "hi"])


def test_messages_of_a_tenant_that_is_gone_go() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    remember(acme, "said while it was deleted")
    remember(globex, "hello")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_app_chatmessage SET tenant_id = 999999 WHERE role = 'user'")
    assert retention.prune() == 2


def test_what_was_written_beside_a_deletion_goes_and_the_mark_after_a_day() -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    remember(globex, "slipped", "through")
    slipped = remember(acme, "slipped", "through")
    for session, hours in ((SESSION, 1), (uuid4(), 23), (uuid4(), 25)):
        ForgottenSession.objects.create(
            tenant=acme, session_id=session, turn_id=slipped, forgotten_at=ago(hours=hours)
        )
    remember(acme, "new")

    assert retention.prune() == 2

    assert texts(acme) == ["new"]
    assert texts(globex) == ["slipped", "through"]
    assert ForgottenSession.objects.count() == 2


def test_mark_that_goes_takes_its_text_along() -> None:
    acme = make_tenant("acme")
    turn = remember(acme, "slipped")
    ForgottenSession.objects.create(
        tenant=acme, session_id=SESSION, turn_id=turn, forgotten_at=ago(days=2)
    )
    assert retention.prune() == 1
    assert not ForgottenSession.objects.exists()


def test_pruning_goes_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "DELETED_AT_ONCE", 3)
    monkeypatch.setattr(retention, "READ_AT_ONCE", 4)
    acme = make_tenant("acme", max_messages_per_session=2, session_retention_days=10)
    quiet, loud = [uuid4() for _ in range(5)], [uuid4() for _ in range(5)]
    for session in (*quiet, *loud):
        for text in "ab" if session in quiet else "abcdefgh":
            remember(acme, text, session=session)
    for n in range(8):
        remember(acme, f"old {n}", session=quiet[0], at=ago(days=11))
    for n in range(4):
        turn = remember(acme, f"slipped {n}", session=(gone := uuid4()))
        ForgottenSession.objects.create(tenant=acme, session_id=gone, turn_id=turn)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert retention.prune() == 8 + 5 * 6 + 4
    deletions = [query["sql"] for query in queries if "DELETE" in query["sql"]]

    assert [texts(acme, session) for session in quiet] == [["a", "b"]] * 5
    assert [texts(acme, session) for session in loud] == [["g", "h"]] * 5
    assert sum("OFFSET 4" in query["sql"] for query in queries) > 3
    assert len(deletions) > 12
    assert all("LIMIT 3" in sql for sql in deletions)


def test_pruning_looks_along_the_indexes() -> None:
    acme = make_tenant("acme")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO chat_app_chatmessage (tenant_id, session_id, turn_id, role, content)
            SELECT %s, ('00000000-0000-0000-0000-' || lpad(to_hex(n / 20), 12, '0'))::uuid,
                gen_random_uuid(), 'user', 'hello'
            FROM generate_series(1, 20000) n
            """,
            [acme.pk],
        )
        cursor.execute("ANALYZE chat_app_chatmessage")
        values: dict[str, Any] = {
            "tenant": acme.pk, "session": SESSION, "turn": uuid7(), "days": 30, "some": 100,
            "after": NIL, "upto": UUID(int=50), "most": 200, "many": 1000,
        }  # fmt: skip
        for name in ("TENANTS", "DELETE_ALL", "DELETE_OLD", "DELETE_TURNS", "STRETCH", "LONG",
                     "BEYOND"):  # fmt: skip
            cursor.execute(f"EXPLAIN {getattr(retention, f'_{name}')}", values)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on chat_app_chatmessage" not in plan, plan


def test_task_prunes() -> None:
    remember(make_tenant("acme", session_memory=False), "hello")
    tasks.prune_sessions()
    assert not ChatMessage.objects.exists()
