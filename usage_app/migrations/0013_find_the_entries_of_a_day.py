"""Reports lead to the entries of some days, of all tenants, and count the refusals of a month."""

from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

from usage_app.migrations._ledger_index import AddLedgerIndex


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("usage_app", "0012_reconciliation")]

    operations = [
        AddLedgerIndex(
            BrinIndex(autosummarize=True, fields=["local_day"], name="entry_local_day"),
            suffix="day",
            options="USING brin (local_day) WITH (autosummarize = on)",
        ),
        AddIndexConcurrently(
            model_name="refusalcount",
            index=models.Index(fields=["hour"], name="refusals_hour"),
        ),
    ]
