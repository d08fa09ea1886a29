"""Expand: messages may name their turn, and what names none gets one from the clock.

The default is for processes of the version before, which go on writing until they are restarted;
it reaches to the microsecond, because a turn's two messages are written one after the other.
"""

from django.db import migrations, models

# A lock that waits behind a long dump would make every turn wait behind it.
PATIENCE = "SET LOCAL lock_timeout = '5s'"
# In a statement of its own: as part of ADD COLUMN it would write the whole table anew.
DEFAULT = """
ALTER TABLE chat_app_chatmessage ALTER COLUMN turn_id SET DEFAULT (
    overlay(
        lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000 * 4096)::bigint), 15, '0')
        PLACING '7' FROM 13 FOR 0
    ) || '8' || substr(md5(random()::text), 1, 15)
)::uuid
"""


class Migration(migrations.Migration):
    dependencies = [("chat_app", "0002_upstreams_left_alone")]

    operations = [
        migrations.RunSQL(PATIENCE, migrations.RunSQL.noop),
        migrations.AddField("chatmessage", "turn_id", models.UUIDField(null=True)),
        migrations.RunSQL(DEFAULT, migrations.RunSQL.noop),
    ]
