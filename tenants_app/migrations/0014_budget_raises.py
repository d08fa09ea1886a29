"""Raises of budgets: for a while, cancelled once at most, and never edited."""

from datetime import UTC, datetime
from decimal import Decimal

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

# What Django declares is not a constraint of the database; this is, over both columns. A raise goes
# with its budget, and in no other way.
BELONGS = """
ALTER TABLE tenants_app_budgetraise ADD CONSTRAINT raise_belongs_to_its_budget
FOREIGN KEY (budget_id, tenant_id) REFERENCES tenants_app_budget (id, tenant_id) ON DELETE CASCADE;
"""
LET_GO = "ALTER TABLE tenants_app_budgetraise DROP CONSTRAINT raise_belongs_to_its_budget"

# The lock keeps two raises from both being the last of twenty, and the budget as it is.
SENSE = """
CREATE FUNCTION tollgate_judge_a_raise() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_budget tenants_app_budget%ROWTYPE;
    broken text;
BEGIN
    SELECT * INTO of_budget FROM tenants_app_budget WHERE id = NEW.budget_id FOR NO KEY UPDATE;
    IF of_budget.period NOT IN ('day', 'month') THEN
        broken := 'raise_is_of_a_day_or_a_month';
    ELSIF of_budget.metric <> 'cost' AND NEW.extra <> trunc(NEW.extra) THEN
        broken := 'raise_is_whole_unless_of_cost';
    ELSIF 20 <= (
        SELECT count(*) FROM tenants_app_budgetraise
        WHERE budget_id = NEW.budget_id AND cancelled_at IS NULL AND ends_at > clock_timestamp()
    ) THEN
        broken := 'raise_is_one_of_twenty';
    END IF;
    IF broken IS NOT NULL THEN
        RAISE EXCEPTION '%', broken USING ERRCODE = 'check_violation', CONSTRAINT = broken;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER raise_makes_sense BEFORE INSERT ON tenants_app_budgetraise
FOR EACH ROW EXECUTE FUNCTION tollgate_judge_a_raise();
"""
UNDO_SENSE = "DROP FUNCTION tollgate_judge_a_raise() CASCADE"

RECORD = """
CREATE FUNCTION tollgate_keep_a_raise() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken text := 'raise_is_cancelled_once_and_never_edited';
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT EXISTS (SELECT FROM tenants_app_budget WHERE id = OLD.budget_id) THEN
            RETURN OLD;
        END IF;
        broken := 'raise_stays_as_long_as_its_budget';
    ELSIF OLD.cancelled_at IS NULL AND NEW.cancelled_at IS NOT NULL
        AND to_jsonb(NEW) - 'cancelled_at' - 'cancelled_by'
            = to_jsonb(OLD) - 'cancelled_at' - 'cancelled_by'
    THEN
        IF OLD.ends_at > clock_timestamp() THEN
            RETURN NEW;
        END IF;
        broken := 'raise_that_is_over_is_not_cancelled';
    END IF;
    RAISE EXCEPTION '%', broken USING ERRCODE = 'check_violation', CONSTRAINT = broken;
END $$;

CREATE TRIGGER raise_is_kept BEFORE DELETE ON tenants_app_budgetraise
FOR EACH ROW EXECUTE FUNCTION tollgate_keep_a_raise();
CREATE TRIGGER raise_is_never_edited BEFORE UPDATE ON tenants_app_budgetraise
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION tollgate_keep_a_raise();
"""
UNDO_RECORD = "DROP FUNCTION tollgate_keep_a_raise() CASCADE"

# Of what was raised the unit and the owner stay, or the raise would be of something else.
STAYS = """
CREATE FUNCTION tollgate_keep_what_was_raised() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tenants_app_budgetraise WHERE budget_id = OLD.id) THEN
        RAISE EXCEPTION 'budget_that_was_raised_changes_its_limit_only'
            USING ERRCODE = 'check_violation',
                CONSTRAINT = 'budget_that_was_raised_changes_its_limit_only';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER budget_that_was_raised_stays_what_it_is BEFORE UPDATE ON tenants_app_budget
FOR EACH ROW WHEN (
    (OLD.id, OLD.tenant_id, OLD.team_id, OLD.api_key_id, OLD.metric, OLD.period) IS DISTINCT FROM
    (NEW.id, NEW.tenant_id, NEW.team_id, NEW.api_key_id, NEW.metric, NEW.period)
)
EXECUTE FUNCTION tollgate_keep_what_was_raised();
"""
UNDO_STAYS = "DROP FUNCTION tollgate_keep_what_was_raised() CASCADE"

WATCH = """
CREATE CONSTRAINT TRIGGER budgetraise_bumps_its_version
AFTER INSERT OR UPDATE OR DELETE ON tenants_app_budgetraise
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION tollgate_bump_version('tenant_id');
CREATE TRIGGER budgetraise_truncate_bumps_every_version
AFTER TRUNCATE ON tenants_app_budgetraise
FOR EACH STATEMENT EXECUTE FUNCTION tollgate_bump_every_version();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("pghistory", "0007_auto_20250421_0444"),
        ("tenants_app", "0013_rotation_with_an_overlap"),
    ]

    operations = [
        migrations.CreateModel(
            name="BudgetRaise",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "extra",
                    models.DecimalField(
                        decimal_places=10,
                        max_digits=24,
                        validators=[
                            django.core.validators.MaxValueValidator(Decimal(1000000000000))
                        ],
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                (
                    "starts_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="from"
                    ),
                ),
                ("ends_at", models.DateTimeField(verbose_name="until")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("created_by", models.CharField(max_length=150)),
                ("cancelled_at", models.DateTimeField(blank=True, null=True)),
                ("cancelled_by", models.CharField(blank=True, default="", max_length=150)),
            ],
            options={
                "verbose_name": "budget raise",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="BudgetRaiseEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                (
                    "extra",
                    models.DecimalField(
                        decimal_places=10,
                        max_digits=24,
                        validators=[
                            django.core.validators.MaxValueValidator(Decimal(1000000000000))
                        ],
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                (
                    "starts_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="from"
                    ),
                ),
                ("ends_at", models.DateTimeField(verbose_name="until")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                ("created_by", models.CharField(max_length=150)),
                ("cancelled_at", models.DateTimeField(blank=True, null=True)),
                ("cancelled_by", models.CharField(blank=True, default="", max_length=150)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.UniqueConstraint(
                fields=("id", "tenant"), name="budget_belongs_to_one_tenant"
            ),
        ),
        migrations.AddField(
            model_name="budgetraise",
            name="budget",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="raises",
                to="tenants_app.budget",
            ),
        ),
        migrations.AddField(
            model_name="budgetraise",
            name="tenant",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="raises",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddField(
            model_name="budgetraiseevent",
            name="budget",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.budget",
            ),
        ),
        migrations.AddField(
            model_name="budgetraiseevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="budgetraiseevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.budgetraise",
            ),
        ),
        migrations.AddField(
            model_name="budgetraiseevent",
            name="tenant",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddIndex(
            model_name="budgetraise",
            index=models.Index(
                condition=models.Q(("cancelled_at", None)),
                fields=["budget", "ends_at"],
                name="raise_standing",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetraise",
            constraint=models.CheckConstraint(
                condition=models.Q(("extra__gt", 0), ("extra__lte", Decimal(1000000000000))),
                name="raise_extra_is_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetraise",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("starts_at"))),
                name="raise_ends_after_it_begins",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetraise",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ends_at__lt", datetime(9999, 1, 1, 0, 0, tzinfo=UTC)),
                    ("starts_at__gte", datetime(2000, 1, 1, 0, 0, tzinfo=UTC)),
                ),
                name="raise_is_within_the_calendar",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetraise",
            constraint=models.CheckConstraint(
                condition=models.Q(("created_by__regex", "\\S"), ("reason__regex", "\\S")),
                name="raise_says_why_and_by_whom",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetraise",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("cancelled_at", None), ("cancelled_by", "")),
                    models.Q(("cancelled_at__isnull", False), ("cancelled_by__regex", "\\S")),
                    _connector="OR",
                ),
                name="raise_is_cancelled_by_somebody",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="budgetraise",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_budgetraiseevent" ("budget_id", "cancelled_at", "cancelled_by", "created_at", "created_by", "ends_at", "extra", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "starts_at", "tenant_id") VALUES (NEW."budget_id", NEW."cancelled_at", NEW."cancelled_by", NEW."created_at", NEW."created_by", NEW."ends_at", NEW."extra", NEW."id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."reason", NEW."starts_at", NEW."tenant_id"); RETURN NULL;',
                    hash="ad387a56790703bdbcf02e877d0db79b029a11bd",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_db5c6",
                    table="tenants_app_budgetraise",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="budgetraise",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "tenants_app_budgetraiseevent" ("budget_id", "cancelled_at", "cancelled_by", "created_at", "created_by", "ends_at", "extra", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "starts_at", "tenant_id") VALUES (NEW."budget_id", NEW."cancelled_at", NEW."cancelled_by", NEW."created_at", NEW."created_by", NEW."ends_at", NEW."extra", NEW."id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."reason", NEW."starts_at", NEW."tenant_id"); RETURN NULL;',
                    hash="10dcd1cac6a6240a2d0496158407f5aa35a2ec5e",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_6a8f5",
                    table="tenants_app_budgetraise",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="budgetraise",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_budgetraiseevent" ("budget_id", "cancelled_at", "cancelled_by", "created_at", "created_by", "ends_at", "extra", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "reason", "starts_at", "tenant_id") VALUES (OLD."budget_id", OLD."cancelled_at", OLD."cancelled_by", OLD."created_at", OLD."created_by", OLD."ends_at", OLD."extra", OLD."id", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."reason", OLD."starts_at", OLD."tenant_id"); RETURN NULL;',
                    hash="8d89231ba5e21f6bc9411508a778fe60d3304125",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_4127f",
                    table="tenants_app_budgetraise",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="budgetraiseevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="8208183e085c621aa9aa0e80fad504076a066405",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_68583",
                    table="tenants_app_budgetraiseevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.RunSQL(BELONGS, LET_GO),
        migrations.RunSQL(SENSE, UNDO_SENSE),
        migrations.RunSQL(RECORD, UNDO_RECORD),
        migrations.RunSQL(STAYS, UNDO_STAYS),
        migrations.RunSQL(WATCH, migrations.RunSQL.noop),
    ]
