"""What a tenant was charged in a month, once that month is closed."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0007_context_tokens"),
        ("usage_app", "0009_prices_and_margins_are_audited"),
    ]

    operations = [
        migrations.CreateModel(
            name="Statement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "month",
                    models.DateField(help_text="The first day of the tenant's calendar month."),
                ),
                ("tenant_slug", models.CharField(max_length=64)),
                ("tenant_name", models.CharField(max_length=200)),
                ("timezone", models.CharField(max_length=64)),
                ("currency", models.CharField(max_length=3)),
                (
                    "minor_unit",
                    models.SmallIntegerField(help_text="Decimals to which each line is rounded."),
                ),
                ("entries", models.BigIntegerField()),
                ("line_count", models.IntegerField()),
                ("day_count", models.IntegerField()),
                ("cost", models.DecimalField(decimal_places=10, max_digits=24)),
                ("credit", models.DecimalField(decimal_places=10, max_digits=24)),
                (
                    "price",
                    models.DecimalField(
                        decimal_places=16, help_text="Exact, before any rounding.", max_digits=36
                    ),
                ),
                (
                    "total",
                    models.DecimalField(
                        decimal_places=4, help_text="The sum of the rounded lines.", max_digits=24
                    ),
                ),
                (
                    "remarks",
                    models.JSONField(
                        default=list, help_text="What was known to be open at the closing."
                    ),
                ),
                ("closed_at", models.DateTimeField()),
                ("closed_by", models.CharField(max_length=150)),
                (
                    "previous",
                    models.CharField(
                        blank=True,
                        help_text="The checksum of the statement before it.",
                        max_length=64,
                    ),
                ),
                ("checksum", models.CharField(max_length=64)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ("-month", "tenant"),
                "permissions": (("close_month", "Can close a month"),),
            },
        ),
        migrations.CreateModel(
            name="StatementDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField()),
                ("entries", models.BigIntegerField()),
                (
                    "percent",
                    models.DecimalField(
                        decimal_places=4, help_text="The day's margin.", max_digits=8
                    ),
                ),
                ("cost", models.DecimalField(decimal_places=10, max_digits=24)),
                ("credit", models.DecimalField(decimal_places=10, max_digits=24)),
                ("digest", models.CharField(max_length=64)),
                (
                    "statement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="days",
                        to="usage_app.statement",
                    ),
                ),
            ],
            options={
                "ordering": ("statement", "day"),
            },
        ),
        migrations.CreateModel(
            name="StatementLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.IntegerField()),
                ("cost_center", models.CharField(blank=True, max_length=100)),
                (
                    "model",
                    models.CharField(blank=True, help_text="Empty: credits alone.", max_length=200),
                ),
                ("requests", models.BigIntegerField()),
                ("input_tokens", models.BigIntegerField()),
                ("cached_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("total_tokens", models.BigIntegerField()),
                ("estimated_tokens", models.BigIntegerField()),
                ("unpriced_requests", models.BigIntegerField()),
                ("unpriced_tokens", models.BigIntegerField()),
                ("cost", models.DecimalField(decimal_places=10, max_digits=24)),
                ("credit", models.DecimalField(decimal_places=10, max_digits=24)),
                ("price", models.DecimalField(decimal_places=16, max_digits=36)),
                (
                    "amount",
                    models.DecimalField(
                        decimal_places=4,
                        help_text="The price, rounded half to even.",
                        max_digits=24,
                    ),
                ),
                (
                    "statement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lines",
                        to="usage_app.statement",
                    ),
                ),
            ],
            options={
                "ordering": ("statement", "position"),
            },
        ),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.UniqueConstraint(
                fields=("tenant", "month"), name="statement_is_one_per_tenant_and_month"
            ),
        ),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.CheckConstraint(
                condition=models.Q(("month__day", 1)), name="statement_month_is_its_first_day"
            ),
        ),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.CheckConstraint(
                condition=models.Q(("checksum__regex", "^[0-9a-f]{64}$")),
                name="statement_has_a_checksum",
            ),
        ),
        migrations.AddConstraint(
            model_name="statementday",
            constraint=models.UniqueConstraint(
                fields=("statement", "day"), name="statement_day_is_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="statementline",
            constraint=models.UniqueConstraint(
                fields=("statement", "position"), name="statement_line_has_its_own_place"
            ),
        ),
    ]
