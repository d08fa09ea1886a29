"""A permission of its own for corrections, credits and re-pricing."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("usage_app", "0013_find_the_entries_of_a_day")]

    operations = [
        migrations.AlterModelOptions(
            name="ledgerentry",
            options={
                "permissions": (
                    ("correct_ledger", "Can correct the ledger, give credits and re-price"),
                ),
                "verbose_name_plural": "ledger entries",
            },
        ),
    ]
