"""What 0006 added holds for the entries from before it, too."""

from django.db import migrations

VALIDATE = """
ALTER TABLE usage_app_ledgerentry VALIDATE CONSTRAINT entry_names_what_it_corrects;
ALTER TABLE usage_app_ledgerentry VALIDATE CONSTRAINT correction_has_reason_and_author;
ALTER TABLE usage_app_ledgerentry VALIDATE CONSTRAINT credit_is_money_alone;
"""


class Migration(migrations.Migration):
    dependencies = [("usage_app", "0006_money_alone")]

    operations = [migrations.RunSQL(VALIDATE, migrations.RunSQL.noop)]
