"""Percentages at which a budget's use is told, and where a tenant's alerts go."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

import tenants_app.models.budgets
import tenants_app.models.catalogue
import tenants_app.sealed

DATE = """
CREATE FUNCTION tollgate_date_change_of_secret() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.secret_changed_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER alert_targets_date_a_first_secret
BEFORE INSERT ON tenants_app_alerttargets FOR EACH ROW WHEN (NEW.sealed_secret IS NOT NULL)
EXECUTE FUNCTION tollgate_date_change_of_secret();

CREATE TRIGGER alert_targets_date_a_change_of_secret
BEFORE UPDATE ON tenants_app_alerttargets FOR EACH ROW
WHEN (NEW.sealed_secret IS DISTINCT FROM OLD.sealed_secret)
EXECUTE FUNCTION tollgate_date_change_of_secret();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("pghistory", "0007_auto_20250421_0444"),
        ("tenants_app", "0009_staff_are_held_to_tenants"),
    ]

    operations = [
        migrations.CreateModel(
            name="AlertTargets",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "emails",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.EmailField(max_length=254),
                        blank=True,
                        default=list,
                        size=20,
                    ),
                ),
                (
                    "webhook_url",
                    models.CharField(
                        blank=True,
                        default="",
                        max_length=500,
                        validators=[tenants_app.models.catalogue.validate_base_url],
                        verbose_name="webhook URL",
                    ),
                ),
                ("sealed_secret", tenants_app.sealed.SealedField(blank=True, null=True)),
                ("secret_changed_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "verbose_name": "alert targets",
                "verbose_name_plural": "alert targets",
            },
        ),
        migrations.CreateModel(
            name="AlertTargetsEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False)),
                (
                    "emails",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.EmailField(max_length=254),
                        blank=True,
                        default=list,
                        size=20,
                    ),
                ),
                (
                    "webhook_url",
                    models.CharField(
                        blank=True,
                        default="",
                        max_length=500,
                        validators=[tenants_app.models.catalogue.validate_base_url],
                        verbose_name="webhook URL",
                    ),
                ),
                ("secret_changed_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="budget",
            name="insert_insert",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="budget",
            name="update_update",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="budget",
            name="delete_delete",
        ),
        migrations.AddField(
            model_name="budget",
            name="alert_percents",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.PositiveSmallIntegerField(),
                blank=True,
                default=tenants_app.models.budgets.default_percents,
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="budgetevent",
            name="alert_percents",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.PositiveSmallIntegerField(),
                blank=True,
                default=tenants_app.models.budgets.default_percents,
                size=None,
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="budget",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_budgetevent" ("alert_percents", "api_key_id", "burst", "id", "limit", "metric", "period", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."alert_percents", NEW."api_key_id", NEW."burst", NEW."id", NEW."limit", NEW."metric", NEW."period", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="54db689a7e7ec9f7de032c3fd9dce0f76ad1582f",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_5adfc",
                    table="tenants_app_budget",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="budget",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "tenants_app_budgetevent" ("alert_percents", "api_key_id", "burst", "id", "limit", "metric", "period", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."alert_percents", NEW."api_key_id", NEW."burst", NEW."id", NEW."limit", NEW."metric", NEW."period", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="5b589b35c57094df6a888928ab5ed789719113b5",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_5cc34",
                    table="tenants_app_budget",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="budget",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_budgetevent" ("alert_percents", "api_key_id", "burst", "id", "limit", "metric", "period", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (OLD."alert_percents", OLD."api_key_id", OLD."burst", OLD."id", OLD."limit", OLD."metric", OLD."period", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."tenant_id"); RETURN NULL;',
                    hash="b6fd496520cae98d60aa3d5a4cc77f2184a199a6",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_bedc7",
                    table="tenants_app_budget",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "alert_percents__contained_by",
                        [
                            1,
                            2,
                            3,
                            4,
                            5,
                            6,
                            7,
                            8,
                            9,
                            10,
                            11,
                            12,
                            13,
                            14,
                            15,
                            16,
                            17,
                            18,
                            19,
                            20,
                            21,
                            22,
                            23,
                            24,
                            25,
                            26,
                            27,
                            28,
                            29,
                            30,
                            31,
                            32,
                            33,
                            34,
                            35,
                            36,
                            37,
                            38,
                            39,
                            40,
                            41,
                            42,
                            43,
                            44,
                            45,
                            46,
                            47,
                            48,
                            49,
                            50,
                            51,
                            52,
                            53,
                            54,
                            55,
                            56,
                            57,
                            58,
                            59,
                            60,
                            61,
                            62,
                            63,
                            64,
                            65,
                            66,
                            67,
                            68,
                            69,
                            70,
                            71,
                            72,
                            73,
                            74,
                            75,
                            76,
                            77,
                            78,
                            79,
                            80,
                            81,
                            82,
                            83,
                            84,
                            85,
                            86,
                            87,
                            88,
                            89,
                            90,
                            91,
                            92,
                            93,
                            94,
                            95,
                            96,
                            97,
                            98,
                            99,
                            100,
                        ],
                    ),
                    ("alert_percents__len__lte", 10),
                ),
                name="budget_alerts_are_percents",
            ),
        ),
        migrations.AddField(
            model_name="alerttargets",
            name="tenant",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="alert_targets",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddField(
            model_name="alerttargetsevent",
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
            model_name="alerttargetsevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.alerttargets",
            ),
        ),
        migrations.AddField(
            model_name="alerttargetsevent",
            name="tenant",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddConstraint(
            model_name="alerttargets",
            constraint=models.CheckConstraint(
                condition=models.Q(("emails__len__lte", 20)), name="alert_emails_are_few"
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="alerttargets",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_alerttargetsevent" ("emails", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "secret_changed_at", "tenant_id", "uuid", "webhook_url") VALUES (NEW."emails", NEW."id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."secret_changed_at", NEW."tenant_id", NEW."uuid", NEW."webhook_url"); RETURN NULL;',
                    hash="2af36a8be5a95d1daa6f8554d7b50346e63f5883",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_338d0",
                    table="tenants_app_alerttargets",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="alerttargets",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."emails" IS DISTINCT FROM (NEW."emails") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."secret_changed_at" IS DISTINCT FROM (NEW."secret_changed_at") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id") OR OLD."uuid" IS DISTINCT FROM (NEW."uuid") OR OLD."webhook_url" IS DISTINCT FROM (NEW."webhook_url"))',
                    func='INSERT INTO "tenants_app_alerttargetsevent" ("emails", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "secret_changed_at", "tenant_id", "uuid", "webhook_url") VALUES (NEW."emails", NEW."id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."secret_changed_at", NEW."tenant_id", NEW."uuid", NEW."webhook_url"); RETURN NULL;',
                    hash="34cf6c3c60f8f2424df82a1022be1d34696745d1",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_eec0a",
                    table="tenants_app_alerttargets",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="alerttargets",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_alerttargetsevent" ("emails", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "secret_changed_at", "tenant_id", "uuid", "webhook_url") VALUES (OLD."emails", OLD."id", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."secret_changed_at", OLD."tenant_id", OLD."uuid", OLD."webhook_url"); RETURN NULL;',
                    hash="ffe38c0b4c170fdeebcadd91b85cc93500ba3a5f",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_bae8b",
                    table="tenants_app_alerttargets",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="alerttargetsevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="4d0cfc4755aee02199f34238fd7c563ec24bbf87",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_f65dd",
                    table="tenants_app_alerttargetsevent",
                    when="BEFORE",
                ),
            ),
        ),
        migrations.RunSQL(DATE, "DROP FUNCTION tollgate_date_change_of_secret() CASCADE"),
    ]
