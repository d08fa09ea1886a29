"""Providers' bills and what matching them gave. A bill is a fact: neither it nor its lines are ever
changed, and no two bills of one upstream are about the same day.
"""

import django.db.models.deletion
from django.db import migrations, models

FACTS = """
CREATE FUNCTION tollgate_bill_is_a_fact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a provider''s bill stays as it was imported: delete it, and import another'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER bill_is_a_fact BEFORE UPDATE OF name, digest, kind, first_day, last_day, upstreams,
    layout, currency, lines, amount, imported_by, imported_at ON usage_app_providerbill
    FOR EACH ROW EXECUTE FUNCTION tollgate_bill_is_a_fact();
CREATE TRIGGER bill_line_is_a_fact BEFORE UPDATE ON usage_app_providerbillline
    FOR EACH ROW EXECUTE FUNCTION tollgate_bill_is_a_fact();
"""

# A request would be looked for in both. The lock makes two imports at once see one another.
APART = """
CREATE FUNCTION tollgate_bills_do_not_overlap() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE other text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('usage_app.bills', 0));
    SELECT b.name INTO other FROM usage_app_providerbill b
    WHERE b.first_day <= NEW.last_day AND b.last_day >= NEW.first_day AND EXISTS (
        SELECT 1 FROM jsonb_array_elements(b.upstreams) x
        JOIN jsonb_array_elements(NEW.upstreams) y ON x = y)
    LIMIT 1;
    IF other IS NOT NULL THEN
        RAISE EXCEPTION 'the bill % has days of such an upstream already', other
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bills_do_not_overlap BEFORE INSERT ON usage_app_providerbill
    FOR EACH ROW EXECUTE FUNCTION tollgate_bills_do_not_overlap();
"""

FORGET = """
DROP FUNCTION tollgate_bills_do_not_overlap() CASCADE;
DROP FUNCTION tollgate_bill_is_a_fact() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0007_context_tokens"),
        ("usage_app", "0014_staff_may_correct_the_ledger"),
    ]

    operations = [
        migrations.CreateModel(
            name="ProviderBill",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(help_text="The name of the file.", max_length=200)),
                ("digest", models.CharField(help_text="SHA-256 of the file.", max_length=64)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("openai", "OpenAI-compatible"),
                            ("cloudflare", "Cloudflare AI Gateway"),
                            ("demo", "Demo (in process)"),
                        ],
                        max_length=16,
                        verbose_name="provider",
                    ),
                ),
                ("first_day", models.DateField()),
                ("last_day", models.DateField()),
                (
                    "upstreams",
                    models.JSONField(
                        help_text="Names, each with the tenant that owns it, or null."
                    ),
                ),
                (
                    "layout",
                    models.JSONField(
                        help_text="Which column tells what; see usage_app/bills/files.py."
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                ("lines", models.IntegerField()),
                (
                    "amount",
                    models.DecimalField(
                        decimal_places=20,
                        help_text="Empty: the file tells no money.",
                        max_digits=34,
                        null=True,
                    ),
                ),
                ("imported_by", models.CharField(max_length=150)),
                ("imported_at", models.DateTimeField(auto_now_add=True)),
                ("matched_at", models.DateTimeField(null=True)),
                (
                    "missing_here",
                    models.IntegerField(default=0, help_text="Lines that nothing here explains."),
                ),
                (
                    "missing_there",
                    models.IntegerField(default=0, help_text="Requests that it does not have."),
                ),
                (
                    "difference",
                    models.DecimalField(
                        decimal_places=20,
                        help_text="What it takes beyond the cost in the books.",
                        max_digits=34,
                        null=True,
                    ),
                ),
            ],
            options={
                "permissions": (("match_bill", "Can import, match and delete provider bills"),),
                "constraints": [
                    models.UniqueConstraint(fields=("digest",), name="bill_file_is_imported_once"),
                    models.CheckConstraint(
                        condition=models.Q(("first_day__lte", models.F("last_day"))),
                        name="bill_ends_after_it_begins",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProviderBillLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("line", models.IntegerField(help_text="Its number in the file.")),
                ("day", models.DateField(help_text="UTC.")),
                ("reference", models.CharField(blank=True, max_length=200)),
                (
                    "model",
                    models.CharField(
                        blank=True, help_text="As the provider calls it.", max_length=200
                    ),
                ),
                ("input_tokens", models.BigIntegerField(null=True)),
                ("output_tokens", models.BigIntegerField(null=True)),
                ("amount", models.DecimalField(decimal_places=20, max_digits=34, null=True)),
                (
                    "bill",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="usage_app.providerbill",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("bill", "line"), name="bill_line_is_there_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="ProviderBillMatch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("reference", "Matched by reference"),
                            ("day", "Matched by day and model"),
                            ("attempt", "Explained by a failed attempt"),
                            ("missing_here", "Missing here"),
                            ("missing_there", "Missing there"),
                        ],
                        max_length=13,
                    ),
                ),
                ("day", models.DateField()),
                ("model", models.CharField(blank=True, max_length=200)),
                ("reference", models.CharField(blank=True, max_length=200)),
                ("lines", models.IntegerField()),
                ("requests", models.IntegerField()),
                (
                    "attempts",
                    models.IntegerField(help_text="Failed ones that the provider may have billed."),
                ),
                (
                    "request_id",
                    models.UUIDField(help_text="Empty: it is about none, or many.", null=True),
                ),
                ("billed_input_tokens", models.BigIntegerField()),
                ("billed_output_tokens", models.BigIntegerField()),
                ("billed_amount", models.DecimalField(decimal_places=20, max_digits=34)),
                ("input_tokens", models.BigIntegerField()),
                ("output_tokens", models.BigIntegerField()),
                ("cost", models.DecimalField(decimal_places=10, max_digits=24)),
                ("unpriced", models.IntegerField(help_text="Requests whose cost is not known.")),
                (
                    "bill",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="usage_app.providerbill",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "provider bill matches",
                "indexes": [
                    models.Index(fields=["bill", "outcome"], name="bill_match_outcome"),
                    models.Index(
                        condition=models.Q(("outcome", "reference")),
                        fields=["request_id"],
                        name="bill_match_request",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("lines__gt", 0),
                                ("outcome__in", ["reference", "day"]),
                                ("requests__gt", 0),
                            ),
                            models.Q(
                                ("attempts__gt", 0),
                                ("lines__gt", 0),
                                ("outcome", "attempt"),
                                ("requests", 0),
                            ),
                            models.Q(
                                ("attempts", 0),
                                ("lines__gt", 0),
                                ("outcome", "missing_here"),
                                ("requests", 0),
                            ),
                            models.Q(
                                ("lines", 0), ("outcome", "missing_there"), ("requests__gt", 0)
                            ),
                            _connector="OR",
                        ),
                        name="bill_match_is_what_it_says",
                    )
                ],
            },
        ),
        migrations.RunSQL(FACTS + APART, FORGET),
    ]
