"""A tenant's playground has a key that nobody can present; it stays what it is."""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

# Whoever could give it a digest of their own would have a key that no list of keys shows as one.
STAYS = """
CREATE FUNCTION tollgate_refuse_another_kind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the kind of a key, and the digest of a playground, never change'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'playground_key_is_never_changed';
END $$;

CREATE TRIGGER playground_key_is_never_changed BEFORE UPDATE ON tenants_app_apikey
FOR EACH ROW WHEN (
    OLD.kind <> NEW.kind OR (OLD.kind = 'playground' AND OLD.digest <> NEW.digest)
)
EXECUTE FUNCTION tollgate_refuse_another_kind();
"""
UNDO_STAYS = "DROP FUNCTION tollgate_refuse_another_kind() CASCADE"


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0010_budgets_are_watched"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="tenant",
            options={
                "ordering": ["slug"],
                "permissions": [("try_models", "Can send messages at the tenant's charge: Try it")],
            },
        ),
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
            name="kind",
            field=models.CharField(
                choices=[("client", "Client"), ("playground", "Playground")],
                db_default="client",
                default="client",
                editable=False,
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="apikeyevent",
            name="kind",
            field=models.CharField(
                choices=[("client", "Client"), ("playground", "Playground")],
                db_default="client",
                default="client",
                editable=False,
                max_length=16,
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "scopes", "tenant_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."scopes", NEW."tenant_id"); RETURN NULL;',
                    hash="65a1ceaf7adeb85aada32b4d1630ef04ec493668",
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
                    condition='WHEN (OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."prefix" IS DISTINCT FROM (NEW."prefix") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."scopes" IS DISTINCT FROM (NEW."scopes") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id"))',
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "scopes", "tenant_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."scopes", NEW."tenant_id"); RETURN NULL;',
                    hash="0653904ff990d5e1e7cf8ce367c5457330759f4f",
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
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "scopes", "tenant_id") VALUES (OLD."created_at", OLD."expires_at", OLD."id", OLD."kind", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."prefix", OLD."revoked_at", OLD."scopes", OLD."tenant_id"); RETURN NULL;',
                    hash="670d7db14a5ad104561f5942cd6148c9af541727",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_aac0f",
                    table="tenants_app_apikey",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["client", "playground"])), name="key_kind_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "playground"), _negated=True),
                    models.Q(("expires_at", None), ("scopes", [])),
                    _connector="OR",
                ),
                name="playground_key_opens_no_api",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "playground")),
                fields=("tenant",),
                name="playground_key_once_per_tenant",
            ),
        ),
        migrations.RunSQL(STAYS, UNDO_STAYS),
    ]
