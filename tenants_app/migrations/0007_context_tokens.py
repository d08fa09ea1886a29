"""How many tokens of earlier messages a model is sent, audited as all of a tenant is."""

import django.core.validators
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0006_cloudflare_upstreams"),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="tenant",
            name="insert_insert",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="tenant",
            name="update_update",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="tenant",
            name="delete_delete",
        ),
        migrations.AddField(
            model_name="tenant",
            name="context_tokens",
            field=models.PositiveIntegerField(
                default=8000, validators=[django.core.validators.MaxValueValidator(1000000)]
            ),
        ),
        migrations.AddField(
            model_name="tenantevent",
            name="context_tokens",
            field=models.PositiveIntegerField(
                default=8000, validators=[django.core.validators.MaxValueValidator(1000000)]
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenant",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_tenantevent" ("allow_list_enabled", "context_messages", "context_tokens", "cost_center", "created_at", "default_model_id", "default_upstream_id", "id", "max_messages_per_session", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "session_memory", "session_retention_days", "slug", "status", "timezone", "updated_at") VALUES (NEW."allow_list_enabled", NEW."context_messages", NEW."context_tokens", NEW."cost_center", NEW."created_at", NEW."default_model_id", NEW."default_upstream_id", NEW."id", NEW."max_messages_per_session", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."session_memory", NEW."session_retention_days", NEW."slug", NEW."status", NEW."timezone", NEW."updated_at"); RETURN NULL;',
                    hash="92c8f7cf74ac157b4aec7748f1ef057deb6adb11",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_782a4",
                    table="tenants_app_tenant",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenant",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "tenants_app_tenantevent" ("allow_list_enabled", "context_messages", "context_tokens", "cost_center", "created_at", "default_model_id", "default_upstream_id", "id", "max_messages_per_session", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "session_memory", "session_retention_days", "slug", "status", "timezone", "updated_at") VALUES (NEW."allow_list_enabled", NEW."context_messages", NEW."context_tokens", NEW."cost_center", NEW."created_at", NEW."default_model_id", NEW."default_upstream_id", NEW."id", NEW."max_messages_per_session", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."session_memory", NEW."session_retention_days", NEW."slug", NEW."status", NEW."timezone", NEW."updated_at"); RETURN NULL;',
                    hash="20b4faaf1dc4352e20765c2f45cd1c7688fa783b",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_d3951",
                    table="tenants_app_tenant",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenant",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_tenantevent" ("allow_list_enabled", "context_messages", "context_tokens", "cost_center", "created_at", "default_model_id", "default_upstream_id", "id", "max_messages_per_session", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "session_memory", "session_retention_days", "slug", "status", "timezone", "updated_at") VALUES (OLD."allow_list_enabled", OLD."context_messages", OLD."context_tokens", OLD."cost_center", OLD."created_at", OLD."default_model_id", OLD."default_upstream_id", OLD."id", OLD."max_messages_per_session", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."session_memory", OLD."session_retention_days", OLD."slug", OLD."status", OLD."timezone", OLD."updated_at"); RETURN NULL;',
                    hash="c52f01592a61679477b5ba7543338e7406168c66",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_be8d4",
                    table="tenants_app_tenant",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("context_tokens__lte", 1000000)),
                name="tenant_context_tokens_are_sensible",
            ),
        ),
    ]
