"""What comparing the books found: runs, and the figures that differed."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0007_context_tokens"),
        ("usage_app", "0011_closed_months_are_frozen"),
    ]

    operations = [
        migrations.CreateModel(
            name="Reconciliation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "finished_at",
                    models.DateTimeField(help_text="Empty: under way, or cut off.", null=True),
                ),
                ("author", models.CharField(help_text="Who or what asked for it.", max_length=150)),
                (
                    "first_day",
                    models.DateField(help_text="Empty: from the first entry on.", null=True),
                ),
                ("last_day", models.DateField(help_text="Empty: to the last entry.", null=True)),
                ("tenants", models.BigIntegerField(default=0, help_text="How many were compared.")),
                (
                    "entries",
                    models.BigIntegerField(
                        default=0, help_text="Ledger entries that were added up."
                    ),
                ),
                (
                    "rollups",
                    models.BigIntegerField(
                        default=0, help_text="Roll-up rows of hours, days, months."
                    ),
                ),
                (
                    "pending",
                    models.BigIntegerField(
                        default=0,
                        help_text="Of these, left out: the next roll-up will make them anew.",
                    ),
                ),
                (
                    "windows",
                    models.BigIntegerField(
                        default=0, help_text="Windows compared with the entries."
                    ),
                ),
                (
                    "holds",
                    models.BigIntegerField(
                        default=0, help_text="Windows compared with their open holds."
                    ),
                ),
                ("drifts", models.BigIntegerField(default=0, help_text="Figures that differed.")),
                (
                    "tenant",
                    models.ForeignKey(
                        help_text="Empty: all.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Drift",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "day",
                    models.DateField(help_text="The tenant's calendar day; of a month its first."),
                ),
                (
                    "book",
                    models.CharField(
                        choices=[
                            ("days", "Days"),
                            ("hours", "Hours"),
                            ("months", "Months"),
                            ("day windows", "Day Windows"),
                            ("month windows", "Month Windows"),
                            ("holds", "Holds"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "period",
                    models.CharField(help_text="The hour, day, month or window.", max_length=32),
                ),
                ("cost_center", models.CharField(blank=True, max_length=100)),
                ("model", models.CharField(blank=True, max_length=200)),
                ("figure", models.CharField(max_length=40)),
                ("expected", models.DecimalField(decimal_places=10, max_digits=40)),
                ("found", models.DecimalField(decimal_places=10, max_digits=40)),
                (
                    "api_key",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants_app.apikey",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants_app.tenant",
                    ),
                ),
                (
                    "reconciliation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="found",
                        to="usage_app.reconciliation",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "drift",
            },
        ),
        migrations.AddConstraint(
            model_name="reconciliation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("last_day__gte", models.F("first_day")),
                    ("first_day__isnull", True),
                    ("last_day__isnull", True),
                    _connector="OR",
                ),
                name="reconciliation_days_in_order",
            ),
        ),
    ]
