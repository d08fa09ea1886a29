"""Teams of keys: a key is of one from its issue on and for ever, and budgets may be of a team."""

import django.core.validators
import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

BELONGS = """
ALTER TABLE tenants_app_apikey ADD CONSTRAINT key_team_belongs_to_its_tenant
FOREIGN KEY (team_id, tenant_id) REFERENCES tenants_app_team (id, tenant_id)
DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE tenants_app_budget ADD CONSTRAINT budget_team_belongs_to_its_tenant
FOREIGN KEY (team_id, tenant_id) REFERENCES tenants_app_team (id, tenant_id)
DEFERRABLE INITIALLY DEFERRED;
"""
LET_GO = """
ALTER TABLE tenants_app_apikey DROP CONSTRAINT key_team_belongs_to_its_tenant;
ALTER TABLE tenants_app_budget DROP CONSTRAINT budget_team_belongs_to_its_tenant;
"""

# The team's windows count what the key was charged, and reports find its team through it.
STAYS = """
CREATE FUNCTION tollgate_refuse_another_team() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the team of a key never changes'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'key_stays_in_its_team';
END $$;

CREATE TRIGGER key_stays_in_its_team BEFORE UPDATE ON tenants_app_apikey
FOR EACH ROW WHEN (OLD.team_id IS DISTINCT FROM NEW.team_id)
EXECUTE FUNCTION tollgate_refuse_another_team();
"""
UNDO_STAYS = "DROP FUNCTION tollgate_refuse_another_team() CASCADE"

WATCH = """
CREATE CONSTRAINT TRIGGER team_bumps_its_version
AFTER INSERT OR UPDATE OR DELETE ON tenants_app_team
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION tollgate_bump_version('tenant_id');
CREATE TRIGGER team_truncate_bumps_every_version
AFTER TRUNCATE ON tenants_app_team
FOR EACH STATEMENT EXECUTE FUNCTION tollgate_bump_every_version();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("pghistory", "0007_auto_20250421_0444"),
        ("tenants_app", "0011_playground_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="Team",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "slug",
                    models.CharField(
                        max_length=63,
                        validators=[
                            django.core.validators.RegexValidator("^[a-z0-9][a-z0-9_-]{0,62}$")
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["tenant", "slug"],
            },
        ),
        migrations.CreateModel(
            name="TeamEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                (
                    "slug",
                    models.CharField(
                        max_length=63,
                        validators=[
                            django.core.validators.RegexValidator("^[a-z0-9][a-z0-9_-]{0,62}$")
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.AlterModelOptions(
            name="budget",
            options={"ordering": ["tenant", "team", "api_key", "metric", "period"]},
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
        migrations.RemoveConstraint(
            model_name="budget",
            name="budget_once_per_scope_metric_and_period",
        ),
        migrations.AddField(
            model_name="team",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="teams",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="team",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.RESTRICT,
                related_name="keys",
                to="tenants_app.team",
            ),
        ),
        migrations.AddField(
            model_name="apikeyevent",
            name="team",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.team",
            ),
        ),
        migrations.AddField(
            model_name="budget",
            name="team",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="budgets",
                to="tenants_app.team",
            ),
        ),
        migrations.AddField(
            model_name="budgetevent",
            name="team",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.team",
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.UniqueConstraint(
                fields=("tenant", "team", "api_key", "metric", "period"),
                name="budget_once_per_scope_metric_and_period",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(("team", None), ("api_key", None), _connector="OR"),
                name="budget_is_of_a_team_or_of_a_key",
            ),
        ),
        migrations.AddField(
            model_name="teamevent",
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
            model_name="teamevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.team",
            ),
        ),
        migrations.AddField(
            model_name="teamevent",
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
            model_name="team",
            constraint=models.UniqueConstraint(
                fields=("tenant", "slug"), name="team_slug_once_per_tenant"
            ),
        ),
        migrations.AddConstraint(
            model_name="team",
            constraint=models.CheckConstraint(
                condition=models.Q(("slug__regex", "^[a-z0-9][a-z0-9_-]{0,62}$")),
                name="team_slug_is_plain",
            ),
        ),
        migrations.AddConstraint(
            model_name="team",
            constraint=models.UniqueConstraint(
                fields=("id", "tenant"), name="team_belongs_to_one_tenant"
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="team",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_teamevent" ("created_at", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "slug", "tenant_id") VALUES (NEW."created_at", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."slug", NEW."tenant_id"); RETURN NULL;',
                    hash="cbeeba87e78a718524e3f835ed1584f46dd81dcf",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_ed22b",
                    table="tenants_app_team",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="team",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "tenants_app_teamevent" ("created_at", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "slug", "tenant_id") VALUES (NEW."created_at", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."slug", NEW."tenant_id"); RETURN NULL;',
                    hash="98e3ada44f9b0de54c5168ffa83201125f17bf93",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_35321",
                    table="tenants_app_team",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="team",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_teamevent" ("created_at", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "slug", "tenant_id") VALUES (OLD."created_at", OLD."id", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."slug", OLD."tenant_id"); RETURN NULL;',
                    hash="1d587a56ccfb8513ec6e1748986f3cf71ff43fab",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_b5226",
                    table="tenants_app_team",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="teamevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="c66e51ea657b14c29b755b9de8c92adc6f63cc04",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_c8d37",
                    table="tenants_app_teamevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "scopes", "team_id", "tenant_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."scopes", NEW."team_id", NEW."tenant_id"); RETURN NULL;',
                    hash="5514648be3960e2c031dd681310e81d62303c439",
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
                    condition='WHEN (OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."prefix" IS DISTINCT FROM (NEW."prefix") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."scopes" IS DISTINCT FROM (NEW."scopes") OR OLD."team_id" IS DISTINCT FROM (NEW."team_id") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id"))',
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "scopes", "team_id", "tenant_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."scopes", NEW."team_id", NEW."tenant_id"); RETURN NULL;',
                    hash="b6acb66b20ef87ce30a03f329de516e937325a2f",
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
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "scopes", "team_id", "tenant_id") VALUES (OLD."created_at", OLD."expires_at", OLD."id", OLD."kind", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."prefix", OLD."revoked_at", OLD."scopes", OLD."team_id", OLD."tenant_id"); RETURN NULL;',
                    hash="d1dc879199e082bff45fad7ac99beef0f1e534c7",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_aac0f",
                    table="tenants_app_apikey",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="budget",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_budgetevent" ("alert_percents", "api_key_id", "burst", "id", "limit", "metric", "period", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "team_id", "tenant_id") VALUES (NEW."alert_percents", NEW."api_key_id", NEW."burst", NEW."id", NEW."limit", NEW."metric", NEW."period", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."team_id", NEW."tenant_id"); RETURN NULL;',
                    hash="67c28eeb5a839c885eff23f99fdb10a9e393f79e",
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
                    func='INSERT INTO "tenants_app_budgetevent" ("alert_percents", "api_key_id", "burst", "id", "limit", "metric", "period", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "team_id", "tenant_id") VALUES (NEW."alert_percents", NEW."api_key_id", NEW."burst", NEW."id", NEW."limit", NEW."metric", NEW."period", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."team_id", NEW."tenant_id"); RETURN NULL;',
                    hash="fd268f6329feb5caee6126bde788561e59af5f7f",
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
                    func='INSERT INTO "tenants_app_budgetevent" ("alert_percents", "api_key_id", "burst", "id", "limit", "metric", "period", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "team_id", "tenant_id") VALUES (OLD."alert_percents", OLD."api_key_id", OLD."burst", OLD."id", OLD."limit", OLD."metric", OLD."period", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."team_id", OLD."tenant_id"); RETURN NULL;',
                    hash="5d75189227629afc98e0a0877d8f0fd748c577f6",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_bedc7",
                    table="tenants_app_budget",
                    when="AFTER",
                ),
            ),
        ),
        migrations.RunSQL(BELONGS, LET_GO),
        migrations.RunSQL(STAYS, UNDO_STAYS),
        migrations.RunSQL(WATCH, migrations.RunSQL.noop),
    ]
