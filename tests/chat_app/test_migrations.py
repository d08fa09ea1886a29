"""The migrations of a database that is in use: what was said before keeps its order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from chat_app.models import ChatMessage
from tenants_app.tracing import uuid7
from tests.chat_app.remembered import SESSION, texts
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)

Migrate = Callable[[str], None]
OTHER = UUID(int=0)
# As the version before writes; the second of these messages has an earlier time than the first.
APPEND = """
INSERT INTO chat_app_chatmessage (tenant_id, session_id, role, content, created_at)
VALUES (%(tenant)s, %(session)s, %(role)s, %(content)s,
    now() - interval '1 hour' - make_interval(secs => %(early)s))
"""
APPEND_NOW = """
INSERT INTO chat_app_chatmessage (tenant_id, session_id, role, content)
SELECT %(tenant)s, %(session)s, role, content
FROM json_to_recordset(%(said)s) AS r(n integer, role text, content text) ORDER BY n
"""


@pytest.fixture
def migrate() -> Iterator[Migrate]:
    """Brings chat_app to a migration; in the end to the newest."""

    def to(name: str) -> None:
        MigrationExecutor(connection).migrate([("chat_app", name)])

    yield to
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def execute(query: str, **values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(query, values)


def test_messages_of_before_get_turns_in_their_order(migrate: Migrate) -> None:
    migrate("0002_upstreams_left_alone")
    acme, globex = make_tenant("acme"), make_tenant("globex")
    for n, text in enumerate("abcdef"):
        for tenant, session in ((acme, SESSION), (globex, SESSION), (acme, OTHER)):
            row = {"tenant": tenant.pk, "session": session, "role": "user", "content": text}
            execute(APPEND, **row, early=n % 3)

    # From here on the version before may still be writing.
    migrate("0003_messages_name_their_turn")
    turn = [{"n": n, "role": "user", "content": text} for n, text in enumerate("gh")]
    said = json.dumps(turn)
    execute(APPEND_NOW, tenant=acme.pk, session=SESSION, said=said)
    migrate("0005_every_message_has_a_turn")
    execute(APPEND_NOW, tenant=acme.pk, session=SESSION, said=said)
    ChatMessage.objects.create(
        tenant=acme, session_id=SESSION, turn_id=uuid7(), role="user", content="i"
    )

    assert "".join(texts(acme)) == "abcdefghghi"
    assert "".join(texts(acme, OTHER)) == "".join(texts(globex)) == "abcdef"
    turns = list(ChatMessage.objects.values_list("turn_id", flat=True))
    assert len(set(turns)) == len(turns)
    assert {turn.version for turn in turns} == {7}
    assert {turn.variant for turn in turns} == {"specified in RFC 4122"}


def test_sessions_are_migrated_some_at_a_time(migrate: Migrate) -> None:
    migrate("0003_messages_name_their_turn")
    acme = make_tenant("acme")
    execute(
        """
        INSERT INTO chat_app_chatmessage (tenant_id, session_id, turn_id, role, content)
        SELECT %(tenant)s, gen_random_uuid(), NULL, 'user', 'hello' FROM generate_series(1, 350)
        """,
        tenant=acme.pk,
    )
    migrate("0005_every_message_has_a_turn")
    assert not ChatMessage.objects.filter(turn_id__isnull=True).exists()
    assert ChatMessage.objects.count() == 350
