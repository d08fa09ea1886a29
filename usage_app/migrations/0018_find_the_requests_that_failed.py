"""Operators look for the few requests that did not end well."""

from django.db import migrations, models

from usage_app.migrations._ledger_index import AddLedgerIndex


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("usage_app", "0017_whatever_counts_days_freezes_the_time_zone")]

    operations = [
        AddLedgerIndex(
            models.Index(
                fields=["-created_at", "id"],
                condition=~models.Q(outcome="ok"),
                name="entry_not_ok",
            ),
            suffix="not_ok",
            options="(created_at DESC, id) WHERE outcome <> 'ok'",
        ),
    ]
