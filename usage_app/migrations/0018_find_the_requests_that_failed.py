"""Operators look for the few requests that did not end well. The ledger's index is made partition
by partition, so that no settlement waits for it.
"""

from django.db import migrations, models

TABLE = "usage_app_ledgerentry"
INDEX = "entry_not_ok"
OPTIONS = "(created_at DESC, id) WHERE outcome <> 'ok'"


def make_index(apps, schema_editor):
    """Also when an earlier attempt got half of the way."""
    execute = schema_editor.execute
    execute("SET lock_timeout = '5s'")
    execute(f"CREATE INDEX IF NOT EXISTS {INDEX} ON ONLY {TABLE} {OPTIONS}")
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = %s::regclass AND NOT EXISTS ("
            "     SELECT 1 FROM pg_index x JOIN pg_inherits j ON j.inhrelid = x.indexrelid"
            "     WHERE x.indrelid = c.oid AND j.inhparent = %s::regclass)",
            [TABLE, INDEX],
        )
        partitions = [name for (name,) in cursor.fetchall()]
    for partition in partitions:
        name = f"{partition}_not_ok"
        execute("SET lock_timeout = 0")
        execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        execute(f"CREATE INDEX CONCURRENTLY {name} ON {partition} {OPTIONS}")
        execute("SET lock_timeout = '5s'")
        execute(f"ALTER INDEX {INDEX} ATTACH PARTITION {name}")
    execute("RESET lock_timeout")


def drop_index(apps, schema_editor):
    schema_editor.execute(f"DROP INDEX IF EXISTS {INDEX}")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("usage_app", "0017_whatever_counts_days_freezes_the_time_zone")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(make_index, drop_index)],
            [
                migrations.AddIndex(
                    model_name="ledgerentry",
                    index=models.Index(
                        fields=["-created_at", "id"],
                        condition=~models.Q(outcome="ok"),
                        name=INDEX,
                    ),
                )
            ],
        ),
    ]
