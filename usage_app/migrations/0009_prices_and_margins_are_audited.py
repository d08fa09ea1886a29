"""Every change of a price or a margin leaves an event, written by triggers, with who and why."""

import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pghistory", "0007_auto_20250421_0444"),
        ("tenants_app", "0007_context_tokens"),
        ("usage_app", "0008_rollups_by_cost_centre"),
    ]

    operations = [
        migrations.CreateModel(
            name="MarginEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("valid_from", models.DateField(help_text="The tenant's calendar day.")),
                ("percent", models.DecimalField(decimal_places=4, max_digits=8)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="PriceEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("valid_from", models.DateTimeField()),
                ("input", models.DecimalField(decimal_places=4, max_digits=14)),
                (
                    "cached_input",
                    models.DecimalField(blank=True, decimal_places=4, max_digits=14, null=True),
                ),
                (
                    "cache_write",
                    models.DecimalField(blank=True, decimal_places=4, max_digits=14, null=True),
                ),
                ("output", models.DecimalField(decimal_places=4, max_digits=14)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="margin",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "usage_app_marginevent" ("created_at", "id", "percent", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id", "valid_from") VALUES (NEW."created_at", NEW."id", NEW."percent", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."tenant_id", NEW."valid_from"); RETURN NULL;',
                    hash="04e9f42041bb4d98ee553f80b550f97fcfee2587",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_2a43d",
                    table="usage_app_margin",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="margin",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "usage_app_marginevent" ("created_at", "id", "percent", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id", "valid_from") VALUES (NEW."created_at", NEW."id", NEW."percent", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."tenant_id", NEW."valid_from"); RETURN NULL;',
                    hash="a9ab22d95fc0ed7b7a8edcf7f583bcf7aabd7845",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_0def4",
                    table="usage_app_margin",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="margin",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "usage_app_marginevent" ("created_at", "id", "percent", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id", "valid_from") VALUES (OLD."created_at", OLD."id", OLD."percent", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."tenant_id", OLD."valid_from"); RETURN NULL;',
                    hash="39934299573823b2b6c34d86c593083fe4e64018",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_adc23",
                    table="usage_app_margin",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="price",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "usage_app_priceevent" ("cache_write", "cached_input", "created_at", "id", "input", "model_id", "output", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "valid_from") VALUES (NEW."cache_write", NEW."cached_input", NEW."created_at", NEW."id", NEW."input", NEW."model_id", NEW."output", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."valid_from"); RETURN NULL;',
                    hash="91b8cf0857087eaba52403513eea586411677e11",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_39390",
                    table="usage_app_price",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="price",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "usage_app_priceevent" ("cache_write", "cached_input", "created_at", "id", "input", "model_id", "output", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "valid_from") VALUES (NEW."cache_write", NEW."cached_input", NEW."created_at", NEW."id", NEW."input", NEW."model_id", NEW."output", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."valid_from"); RETURN NULL;',
                    hash="1432feed995c2ab2af669aa6dc81297194f17fdd",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_1e4ac",
                    table="usage_app_price",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="price",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "usage_app_priceevent" ("cache_write", "cached_input", "created_at", "id", "input", "model_id", "output", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "valid_from") VALUES (OLD."cache_write", OLD."cached_input", OLD."created_at", OLD."id", OLD."input", OLD."model_id", OLD."output", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."valid_from"); RETURN NULL;',
                    hash="5816958c327b70a746489a83a867a64c4b8def1f",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_b63da",
                    table="usage_app_price",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="marginevent",
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
            model_name="marginevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="usage_app.margin",
            ),
        ),
        migrations.AddField(
            model_name="marginevent",
            name="tenant",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddField(
            model_name="priceevent",
            name="model",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.model",
            ),
        ),
        migrations.AddField(
            model_name="priceevent",
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
            model_name="priceevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="usage_app.price",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="marginevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="7230777f8065e99e5454d6bfada645db041c70df",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_641ca",
                    table="usage_app_marginevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="priceevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="1fea1f8b15994f38f58c2d0b2eb783418a4c6f4f",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_40dac",
                    table="usage_app_priceevent",
                    when="BEFORE",
                ),
            ),
        ),
    ]
