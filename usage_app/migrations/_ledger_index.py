"""How migrations give the ledger another index without a settlement that waits for it: first of the
parent alone, then concurrently of each partition.
"""

from django.db import migrations

TABLE = "usage_app_ledgerentry"

# Those that have no part of the index yet.
_WITHOUT = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %s::regclass AND NOT EXISTS (
    SELECT 1 FROM pg_index x JOIN pg_inherits j ON j.inhrelid = x.indexrelid
    WHERE x.indrelid = c.oid AND j.inhparent = %s::regclass)
"""


class AddLedgerIndex(migrations.SeparateDatabaseAndState):
    """`index` as the model has it; its partitions' are called by the partition and `suffix`, and
    made by `options`: what follows the table's name in CREATE INDEX. For a migration that is not
    atomic; it may be run again after it got half of the way.
    """

    def __init__(self, index, suffix, options):
        def make(apps, schema_editor):
            _make(schema_editor, index.name, suffix, options)

        def drop(apps, schema_editor):
            schema_editor.execute(f"DROP INDEX IF EXISTS {index.name}")

        super().__init__(
            [migrations.RunPython(make, drop)],
            [migrations.AddIndex(model_name="ledgerentry", index=index)],
        )


def _make(schema_editor, name, suffix, options):
    execute = schema_editor.execute
    execute("SET lock_timeout = '5s'")
    execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY {TABLE} {options}")
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(_WITHOUT, [TABLE, name])
        partitions = [partition for (partition,) in cursor.fetchall()]
    for partition in partitions:
        part = f"{partition}_{suffix}"
        execute("SET lock_timeout = 0")
        execute(f"DROP INDEX CONCURRENTLY IF EXISTS {part}")
        execute(f"CREATE INDEX CONCURRENTLY {part} ON {partition} {options}")
        execute("SET lock_timeout = '5s'")
        execute(f"ALTER INDEX {name} ATTACH PARTITION {part}")
    execute("RESET lock_timeout")
