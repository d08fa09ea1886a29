"""A rotated key keeps the digest of its secret before, and until when that works."""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

# The secret before is the one that the row itself had: so no other way leads into the column, and
# that the digest was unique among all rows keeps it so.
BEFORE = """
CREATE FUNCTION tollgate_refuse_foreign_secret() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the secret before a rotation is the one that the key itself had'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'key_overlaps_with_its_own_secret';
END $$;

CREATE TRIGGER key_overlaps_with_its_own_secret BEFORE UPDATE ON tenants_app_apikey
FOR EACH ROW WHEN (
    NEW.previous_digest IS NOT NULL
    AND NEW.previous_digest IS DISTINCT FROM OLD.previous_digest
    AND (NEW.previous_digest <> OLD.digest OR NEW.digest = OLD.digest)
)
EXECUTE FUNCTION tollgate_refuse_foreign_secret();

CREATE TRIGGER new_key_has_no_secret_before BEFORE INSERT ON tenants_app_apikey
FOR EACH ROW WHEN (NEW.previous_digest IS NOT NULL)
EXECUTE FUNCTION tollgate_refuse_foreign_secret();
"""
UNDO_BEFORE = "DROP FUNCTION tollgate_refuse_foreign_secret() CASCADE"

# No index spans two columns. AFTER the row is in, whoever inserted the same digest has waited for
# the rotation that took it out of the index of present ones, and so sees it here.
ONCE = """
CREATE FUNCTION tollgate_refuse_former_secret() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tenants_app_apikey WHERE previous_digest = NEW.digest) THEN
        RAISE EXCEPTION 'this secret is what a rotated key had before'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'key_secret_is_nobodys_former_one';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER key_secret_is_nobodys_former_one
AFTER INSERT OR UPDATE OF digest, previous_digest ON tenants_app_apikey
FOR EACH ROW EXECUTE FUNCTION tollgate_refuse_former_secret();
"""
UNDO_ONCE = "DROP FUNCTION tollgate_refuse_former_secret() CASCADE"


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0012_teams"),
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
            name="previous_digest",
            field=models.BinaryField(max_length=32, null=True, unique=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="previous_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikeyevent",
            name="previous_until",
            field=models.DateTimeField(editable=False, null=True),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "previous_until", "revoked_at", "scopes", "team_id", "tenant_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."prefix", NEW."previous_until", NEW."revoked_at", NEW."scopes", NEW."team_id", NEW."tenant_id"); RETURN NULL;',
                    hash="e22a6a514ac5b3f94afdc4af0c78537a671e8db7",
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
                    condition='WHEN (OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."prefix" IS DISTINCT FROM (NEW."prefix") OR OLD."previous_until" IS DISTINCT FROM (NEW."previous_until") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."scopes" IS DISTINCT FROM (NEW."scopes") OR OLD."team_id" IS DISTINCT FROM (NEW."team_id") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id"))',
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "previous_until", "revoked_at", "scopes", "team_id", "tenant_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."prefix", NEW."previous_until", NEW."revoked_at", NEW."scopes", NEW."team_id", NEW."tenant_id"); RETURN NULL;',
                    hash="5c16301478ad990cb864a1d844f0746fdff48044",
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
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "previous_until", "revoked_at", "scopes", "team_id", "tenant_id") VALUES (OLD."created_at", OLD."expires_at", OLD."id", OLD."kind", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."prefix", OLD."previous_until", OLD."revoked_at", OLD."scopes", OLD."team_id", OLD."tenant_id"); RETURN NULL;',
                    hash="4a5269667dd00943661efcca17a4b383781aa952",
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
                condition=models.Q(
                    models.Q(("previous_digest", None), ("previous_until", None)),
                    models.Q(("previous_digest__isnull", False), ("previous_until__isnull", False)),
                    _connector="OR",
                ),
                name="key_overlap_has_a_secret_and_an_end",
            ),
        ),
        migrations.RunSQL(BEFORE, UNDO_BEFORE),
        migrations.RunSQL(ONCE, UNDO_ONCE),
    ]
