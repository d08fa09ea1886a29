"""Keys that one file had issued together are found together, and issued once."""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0014_budget_raises"),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="apikey",
            name="insert_insert",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="apikey",
            name="update_update",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="apikey",
            name="delete_delete",
        ),
        migrations.AddField(
            model_name="apikey",
            name="batch",
            field=models.UUIDField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikeyevent",
            name="batch",
            field=models.UUIDField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(
                condition=models.Q(("batch__isnull", False)), fields=["batch"], name="key_batch"
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_apikeyevent" ("batch", "created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "previous_until", "revoked_at", "scopes", "team_id", "tenant_id") VALUES (NEW."batch", NEW."created_at", NEW."expires_at", NEW."id", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."prefix", NEW."previous_until", NEW."revoked_at", NEW."scopes", NEW."team_id", NEW."tenant_id"); RETURN NULL;',
                    hash="cd0d53002b8de564acab47f2d47db1425c5f1aeb",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_15cba",
                    table="tenants_app_apikey",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."batch" IS DISTINCT FROM (NEW."batch") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."prefix" IS DISTINCT FROM (NEW."prefix") OR OLD."previous_until" IS DISTINCT FROM (NEW."previous_until") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."scopes" IS DISTINCT FROM (NEW."scopes") OR OLD."team_id" IS DISTINCT FROM (NEW."team_id") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id"))',
                    func='INSERT INTO "tenants_app_apikeyevent" ("batch", "created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "previous_until", "revoked_at", "scopes", "team_id", "tenant_id") VALUES (NEW."batch", NEW."created_at", NEW."expires_at", NEW."id", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."prefix", NEW."previous_until", NEW."revoked_at", NEW."scopes", NEW."team_id", NEW."tenant_id"); RETURN NULL;',
                    hash="f7b7b33d9a78a5efe7ac863225be027476a3a6e3",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_4c3fa",
                    table="tenants_app_apikey",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_apikeyevent" ("batch", "created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "previous_until", "revoked_at", "scopes", "team_id", "tenant_id") VALUES (OLD."batch", OLD."created_at", OLD."expires_at", OLD."id", OLD."kind", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."prefix", OLD."previous_until", OLD."revoked_at", OLD."scopes", OLD."team_id", OLD."tenant_id"); RETURN NULL;',
                    hash="0db679c28a4023a544595c56074b263d2e6682ff",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_aac0f",
                    table="tenants_app_apikey",
                    when="AFTER",
                ),
            ),
        ),
    ]
