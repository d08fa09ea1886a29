"""Contract: no message without a turn, and the index of the old order goes.

Each statement commits by itself. The check is made valid beside the traffic, so that NOT NULL need
not read the table under its lock.
"""

from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations, models

TABLE = "ALTER TABLE chat_app_chatmessage"
REQUIRE = (
    "SET lock_timeout = '5s'",
    f"{TABLE} DROP CONSTRAINT IF EXISTS message_has_a_turn",
    f"{TABLE} ADD CONSTRAINT message_has_a_turn CHECK (turn_id IS NOT NULL) NOT VALID",
    f"{TABLE} VALIDATE CONSTRAINT message_has_a_turn",
    f"{TABLE} ALTER COLUMN turn_id SET NOT NULL",
    f"{TABLE} DROP CONSTRAINT message_has_a_turn",
    "RESET lock_timeout",
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("chat_app", "0004_earlier_messages_get_turns")]

    operations = [
        migrations.RunSQL(
            REQUIRE,
            f"{TABLE} ALTER COLUMN turn_id DROP NOT NULL",
            state_operations=[
                migrations.AlterField("chatmessage", "turn_id", models.UUIDField()),
            ],
        ),
        RemoveIndexConcurrently("chatmessage", "message_newest_of_session"),
    ]
