"""Reports must know which days have entries that the roll-ups do not hold yet: a mark, and an index
that costs next to nothing to write, since entries are settled in the order in which they are stored.
"""

from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage_app", "0002_partition_the_ledger")]

    operations = [
        migrations.CreateModel(
            name="RollupMark",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("settled_before", models.DateTimeField()),
            ],
        ),
        migrations.AddConstraint(
            model_name="rollupmark",
            constraint=models.CheckConstraint(
                condition=models.Q(("id", 1)), name="rollup_mark_is_one_row"
            ),
        ),
        migrations.AddIndex(
            model_name="dailyusage",
            index=models.Index(fields=["day"], name="daily_usage_day"),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=BrinIndex(autosummarize=True, fields=["settled_at"], name="entry_settled"),
        ),
    ]
