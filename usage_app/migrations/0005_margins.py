"""What tenants pay on top of the cost, from a day on."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0007_context_tokens"),
        ("usage_app", "0004_prices_bump_the_shared_version"),
    ]

    operations = [
        migrations.CreateModel(
            name="Margin",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("valid_from", models.DateField(help_text="The tenant's calendar day.")),
                ("percent", models.DecimalField(decimal_places=4, max_digits=8)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="margins",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ("tenant", "-valid_from"),
            },
        ),
        migrations.AddConstraint(
            model_name="margin",
            constraint=models.UniqueConstraint(
                fields=("tenant", "valid_from"), name="margin_is_one_per_tenant_and_start"
            ),
        ),
        migrations.AddConstraint(
            model_name="margin",
            constraint=models.CheckConstraint(
                condition=models.Q(("percent__gte", -100)), name="margin_takes_no_more_than_all"
            ),
        ),
    ]
