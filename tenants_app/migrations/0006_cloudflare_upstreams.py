"""Upstreams of kind cloudflare: which of its APIs is spoken, and ids that fit into a URL."""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0005_changes_have_a_page"),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name="upstream",
            name="insert_insert",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="upstream",
            name="update_update",
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name="upstream",
            name="delete_delete",
        ),
        migrations.RemoveConstraint(
            model_name="upstream",
            name="upstream_has_a_base_url",
        ),
        migrations.AddField(
            model_name="upstream",
            name="form",
            field=models.CharField(
                blank=True,
                choices=[
                    ("rest", "REST API"),
                    ("compat", "Unified (compat)"),
                    ("workers-ai", "Workers AI"),
                ],
                default="",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="upstreamevent",
            name="form",
            field=models.CharField(
                blank=True,
                choices=[
                    ("rest", "REST API"),
                    ("compat", "Unified (compat)"),
                    ("workers-ai", "Workers AI"),
                ],
                default="",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="upstream",
            name="kind",
            field=models.CharField(
                choices=[
                    ("openai", "OpenAI-compatible"),
                    ("cloudflare", "Cloudflare AI Gateway"),
                    ("demo", "Demo (in process)"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="upstreamevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("openai", "OpenAI-compatible"),
                    ("cloudflare", "Cloudflare AI Gateway"),
                    ("demo", "Demo (in process)"),
                ],
                max_length=16,
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="upstream",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_upstreamevent" ("account_id", "base_url", "connect_timeout_ms", "created_at", "enabled", "first_byte_timeout_ms", "form", "gateway_id", "id", "idle_timeout_ms", "is_default", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id", "token_changed_at", "total_timeout_ms", "updated_at", "uuid") VALUES (NEW."account_id", NEW."base_url", NEW."connect_timeout_ms", NEW."created_at", NEW."enabled", NEW."first_byte_timeout_ms", NEW."form", NEW."gateway_id", NEW."id", NEW."idle_timeout_ms", NEW."is_default", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."tenant_id", NEW."token_changed_at", NEW."total_timeout_ms", NEW."updated_at", NEW."uuid"); RETURN NULL;',
                    hash="145d9c8401b1754806648a47941cb195a5e493ce",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_2958b",
                    table="tenants_app_upstream",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="upstream",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition='WHEN (OLD."account_id" IS DISTINCT FROM (NEW."account_id") OR OLD."base_url" IS DISTINCT FROM (NEW."base_url") OR OLD."connect_timeout_ms" IS DISTINCT FROM (NEW."connect_timeout_ms") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."enabled" IS DISTINCT FROM (NEW."enabled") OR OLD."first_byte_timeout_ms" IS DISTINCT FROM (NEW."first_byte_timeout_ms") OR OLD."form" IS DISTINCT FROM (NEW."form") OR OLD."gateway_id" IS DISTINCT FROM (NEW."gateway_id") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."idle_timeout_ms" IS DISTINCT FROM (NEW."idle_timeout_ms") OR OLD."is_default" IS DISTINCT FROM (NEW."is_default") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id") OR OLD."token_changed_at" IS DISTINCT FROM (NEW."token_changed_at") OR OLD."total_timeout_ms" IS DISTINCT FROM (NEW."total_timeout_ms") OR OLD."updated_at" IS DISTINCT FROM (NEW."updated_at") OR OLD."uuid" IS DISTINCT FROM (NEW."uuid"))',
                    func='INSERT INTO "tenants_app_upstreamevent" ("account_id", "base_url", "connect_timeout_ms", "created_at", "enabled", "first_byte_timeout_ms", "form", "gateway_id", "id", "idle_timeout_ms", "is_default", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id", "token_changed_at", "total_timeout_ms", "updated_at", "uuid") VALUES (NEW."account_id", NEW."base_url", NEW."connect_timeout_ms", NEW."created_at", NEW."enabled", NEW."first_byte_timeout_ms", NEW."form", NEW."gateway_id", NEW."id", NEW."idle_timeout_ms", NEW."is_default", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."tenant_id", NEW."token_changed_at", NEW."total_timeout_ms", NEW."updated_at", NEW."uuid"); RETURN NULL;',
                    hash="56c571a678937a1a3bc886c65460e23d47c728c1",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_9eb37",
                    table="tenants_app_upstream",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="upstream",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_upstreamevent" ("account_id", "base_url", "connect_timeout_ms", "created_at", "enabled", "first_byte_timeout_ms", "form", "gateway_id", "id", "idle_timeout_ms", "is_default", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id", "token_changed_at", "total_timeout_ms", "updated_at", "uuid") VALUES (OLD."account_id", OLD."base_url", OLD."connect_timeout_ms", OLD."created_at", OLD."enabled", OLD."first_byte_timeout_ms", OLD."form", OLD."gateway_id", OLD."id", OLD."idle_timeout_ms", OLD."is_default", OLD."kind", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."tenant_id", OLD."token_changed_at", OLD."total_timeout_ms", OLD."updated_at", OLD."uuid"); RETURN NULL;',
                    hash="89b2c47d4a0d7eee4f7ee5d770fd0088cc608f81",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_48519",
                    table="tenants_app_upstream",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddConstraint(
            model_name="upstream",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind__in", ("cloudflare", "demo")),
                    models.Q(("base_url", ""), _negated=True),
                    _connector="OR",
                ),
                name="upstream_has_a_base_url",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstream",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("form__in", ("rest", "compat", "workers-ai")), ("kind", "cloudflare")
                    ),
                    models.Q(models.Q(("kind", "cloudflare"), _negated=True), ("form", "")),
                    _connector="OR",
                ),
                name="upstream_of_cloudflare_has_a_form",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstream",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "cloudflare"), _negated=True),
                    models.Q(
                        ("account_id__regex", "^[A-Za-z0-9_-]{1,100}$"),
                        ("gateway_id__regex", "^[A-Za-z0-9_-]{1,64}$"),
                    ),
                    _connector="OR",
                ),
                name="upstream_of_cloudflare_names_its_gateway",
            ),
        ),
    ]
