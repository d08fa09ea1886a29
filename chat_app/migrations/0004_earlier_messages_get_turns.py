"""Migrate: each message of before gets a turn of its own, in the order that sessions had, some
sessions in a transaction; and the index of the new order is made beside the traffic.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

SESSIONS_A_STATEMENT = 100

# Sessions were ordered by id. Where writers overtook each other, time ran backwards along it: the
# latest so far keeps the order. Shaped as uuid7 is: milliseconds, version, variant, then the id.
TURN = """
WITH chosen AS (
    SELECT DISTINCT tenant_id, session_id FROM chat_app_chatmessage
    WHERE (tenant_id, session_id) > (%s, %s) ORDER BY tenant_id, session_id LIMIT %s
), placed AS (
    SELECT id, tenant_id, session_id, max(created_at) OVER (
        PARTITION BY tenant_id, session_id ORDER BY id
    ) AS latest
    FROM chat_app_chatmessage JOIN chosen USING (tenant_id, session_id)
    WHERE turn_id IS NULL
), turned AS (
    UPDATE chat_app_chatmessage m SET turn_id = (
        lpad(to_hex(floor(extract(epoch FROM placed.latest) * 1000)::bigint), 12, '0')
        || '70008' || lpad(to_hex(m.id), 15, '0')
    )::uuid
    FROM placed WHERE m.id = placed.id
)
SELECT tenant_id, session_id FROM chosen ORDER BY tenant_id DESC, session_id DESC LIMIT 1
"""


def give_turns(_apps: Any, schema_editor: Any) -> None:
    place: tuple[Any, ...] | None = (0, "00000000-0000-0000-0000-000000000000")
    while place is not None:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(TURN, [*place, SESSIONS_A_STATEMENT])
            place = cursor.fetchone()


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("chat_app", "0003_messages_name_their_turn")]

    operations = [
        migrations.RunPython(give_turns, migrations.RunPython.noop),
        AddIndexConcurrently(
            "chatmessage",
            models.Index(
                fields=["tenant", "session_id", "-turn_id", "-id"], name="message_newest_turn_first"
            ),
        ),
    ]
