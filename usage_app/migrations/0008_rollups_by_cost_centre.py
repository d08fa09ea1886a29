"""Roll-ups are made by cost centre, too. Those that are there do not know it: the mark is taken back,
so that reports read the entries until the next run has made all of them anew.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage_app", "0007_money_alone_is_checked")]

    operations = [
        migrations.RemoveConstraint(
            model_name="dailyusage",
            name="daily_usage_is_one_row_per_group",
        ),
        migrations.RemoveConstraint(
            model_name="hourlyusage",
            name="hourly_usage_is_one_row_per_group",
        ),
        migrations.RemoveConstraint(
            model_name="monthlyusage",
            name="monthly_usage_is_one_row_per_group",
        ),
        migrations.AddField(
            model_name="dailyusage",
            name="cost_center",
            field=models.CharField(blank=True, db_default="", max_length=100),
        ),
        migrations.AddField(
            model_name="dailyusage",
            name="credit",
            field=models.DecimalField(db_default=0, decimal_places=10, max_digits=24),
        ),
        migrations.AddField(
            model_name="hourlyusage",
            name="cost_center",
            field=models.CharField(blank=True, db_default="", max_length=100),
        ),
        migrations.AddField(
            model_name="hourlyusage",
            name="credit",
            field=models.DecimalField(db_default=0, decimal_places=10, max_digits=24),
        ),
        migrations.AddField(
            model_name="monthlyusage",
            name="cost_center",
            field=models.CharField(blank=True, db_default="", max_length=100),
        ),
        migrations.AddField(
            model_name="monthlyusage",
            name="credit",
            field=models.DecimalField(db_default=0, decimal_places=10, max_digits=24),
        ),
        migrations.AddConstraint(
            model_name="dailyusage",
            constraint=models.UniqueConstraint(
                fields=("tenant", "day", "cost_center", "api_key", "model"),
                name="daily_usage_is_one_row_per_group",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="hourlyusage",
            constraint=models.UniqueConstraint(
                fields=("tenant", "hour", "cost_center", "api_key", "model"),
                name="hourly_usage_is_one_row_per_group",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="monthlyusage",
            constraint=models.UniqueConstraint(
                fields=("tenant", "month", "cost_center", "api_key", "model"),
                name="monthly_usage_is_one_row_per_group",
                nulls_distinct=False,
            ),
        ),
        migrations.RunSQL("DELETE FROM usage_app_rollupmark", migrations.RunSQL.noop),
    ]
