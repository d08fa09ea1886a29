"""Entries may be money alone. The ledger may be large and is written to all the time: the rules are
added for new rows first, which takes no scan, and then checked for the old ones, which takes no
lock that a settlement would wait for.
"""

from django.db import migrations, models

ADD = """
SET LOCAL lock_timeout = '2s';
ALTER TABLE usage_app_ledgerentry
    ADD COLUMN credit numeric(24, 10),
    DROP CONSTRAINT entry_names_what_it_corrects,
    DROP CONSTRAINT correction_has_reason_and_author,
    ADD CONSTRAINT entry_names_what_it_corrects CHECK (
        (kind IN ('usage', 'credit') AND corrects IS NULL)
        OR (kind IN ('adjustment', 'correction') AND corrects IS NOT NULL)) NOT VALID,
    ADD CONSTRAINT correction_has_reason_and_author CHECK (
        kind IN ('usage', 'adjustment') OR (reason <> '' AND author <> '')) NOT VALID,
    ADD CONSTRAINT credit_is_money_alone CHECK (
        (kind <> 'credit' AND credit IS NULL)
        OR (kind = 'credit' AND credit IS NOT NULL AND cost = 0 AND input_tokens = 0
            AND cached_tokens = 0 AND cache_write_tokens = 0 AND output_tokens = 0
            AND reasoning_tokens = 0)) NOT VALID;
"""

REMOVE = """
ALTER TABLE usage_app_ledgerentry
    DROP CONSTRAINT credit_is_money_alone,
    DROP CONSTRAINT correction_has_reason_and_author,
    DROP CONSTRAINT entry_names_what_it_corrects,
    DROP COLUMN credit,
    ADD CONSTRAINT entry_names_what_it_corrects CHECK (
        (kind = 'usage' AND corrects IS NULL) OR (kind <> 'usage' AND corrects IS NOT NULL)),
    ADD CONSTRAINT correction_has_reason_and_author CHECK (
        kind <> 'correction' OR (reason <> '' AND author <> ''));
"""


class Migration(migrations.Migration):
    dependencies = [("usage_app", "0005_margins")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ADD, REMOVE)],
            state_operations=[
                migrations.RemoveConstraint(
                    model_name="ledgerentry",
                    name="entry_names_what_it_corrects",
                ),
                migrations.RemoveConstraint(
                    model_name="ledgerentry",
                    name="correction_has_reason_and_author",
                ),
                migrations.AddField(
                    model_name="ledgerentry",
                    name="credit",
                    field=models.DecimalField(
                        blank=True,
                        decimal_places=10,
                        help_text="Money alone, added to the tenant's price as it is; negative in its favour.",
                        max_digits=24,
                        null=True,
                    ),
                ),
                migrations.AlterField(
                    model_name="ledgerentry",
                    name="kind",
                    field=models.CharField(
                        choices=[
                            ("usage", "Usage"),
                            ("adjustment", "Adjustment"),
                            ("correction", "Correction"),
                            ("credit", "Credit"),
                        ],
                        max_length=10,
                    ),
                ),
                migrations.AddConstraint(
                    model_name="ledgerentry",
                    constraint=models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("corrects__isnull", True), ("kind__in", ["usage", "credit"])),
                            models.Q(
                                ("corrects__isnull", False),
                                ("kind__in", ["adjustment", "correction"]),
                            ),
                            _connector="OR",
                        ),
                        name="entry_names_what_it_corrects",
                    ),
                ),
                migrations.AddConstraint(
                    model_name="ledgerentry",
                    constraint=models.CheckConstraint(
                        condition=models.Q(
                            ("kind__in", ["usage", "adjustment"]),
                            models.Q(
                                models.Q(("reason", ""), _negated=True),
                                models.Q(("author", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="correction_has_reason_and_author",
                    ),
                ),
                migrations.AddConstraint(
                    model_name="ledgerentry",
                    constraint=models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                models.Q(("kind", "credit"), _negated=True),
                                ("credit__isnull", True),
                            ),
                            models.Q(
                                ("cache_write_tokens", 0),
                                ("cached_tokens", 0),
                                ("cost", 0),
                                ("credit__isnull", False),
                                ("input_tokens", 0),
                                ("kind", "credit"),
                                ("output_tokens", 0),
                                ("reasoning_tokens", 0),
                            ),
                            _connector="OR",
                        ),
                        name="credit_is_money_alone",
                    ),
                ),
            ],
        ),
    ]
