"""Event tables and the triggers that fill them; tokens and digests are not in them."""

import uuid
from decimal import Decimal

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

import tenants_app.models.catalogue
import tenants_app.models.keys
import tenants_app.models.tenants


class Migration(migrations.Migration):
    dependencies = [
        ("pghistory", "0007_auto_20250421_0444"),
        ("tenants_app", "0003_upstreams_stay_with_their_tenant"),
    ]

    operations = [
        migrations.CreateModel(
            name="AllowedModelEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ApiKeyEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("name", models.CharField(max_length=100)),
                ("prefix", models.CharField(editable=False, max_length=16)),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=50),
                        default=tenants_app.models.keys.default_scopes,
                        size=None,
                    ),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="BudgetEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                (
                    "metric",
                    models.CharField(
                        choices=[("requests", "Requests"), ("tokens", "Tokens"), ("cost", "Cost")],
                        max_length=16,
                    ),
                ),
                (
                    "period",
                    models.CharField(
                        choices=[
                            ("concurrent", "At the same time"),
                            ("minute", "Minute"),
                            ("day", "Day"),
                            ("month", "Month"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "limit",
                    models.DecimalField(
                        decimal_places=10,
                        max_digits=24,
                        validators=[
                            django.core.validators.MaxValueValidator(Decimal(1000000000000))
                        ],
                    ),
                ),
                (
                    "burst",
                    models.BigIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(Decimal(1000000000000)),
                        ],
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ModelEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("public_id", models.CharField(max_length=200)),
                ("name", models.CharField(blank=True, default="", max_length=200)),
                ("default_output", models.PositiveIntegerField(default=1024)),
                ("max_output", models.PositiveIntegerField(default=8192)),
                ("context_window", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "hold_bytes_per_token",
                    models.DecimalField(decimal_places=3, default=Decimal(1), max_digits=6),
                ),
                ("image_tokens", models.PositiveIntegerField(default=0)),
                ("enabled", models.BooleanField(default=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="RouteEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("upstream_model", models.CharField(blank=True, default="", max_length=200)),
                ("priority", models.IntegerField(default=100)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="TenantEvent",
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
                (
                    "status",
                    models.CharField(
                        choices=[("active", "Active"), ("suspended", "Suspended")],
                        default="active",
                        max_length=16,
                    ),
                ),
                (
                    "timezone",
                    models.CharField(
                        default="UTC",
                        max_length=64,
                        validators=[tenants_app.models.tenants.validate_timezone],
                    ),
                ),
                ("allow_list_enabled", models.BooleanField(default=False)),
                ("session_memory", models.BooleanField(default=True)),
                (
                    "session_retention_days",
                    models.PositiveIntegerField(
                        default=30,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(3650),
                        ],
                    ),
                ),
                (
                    "max_messages_per_session",
                    models.PositiveIntegerField(
                        default=200,
                        validators=[
                            django.core.validators.MinValueValidator(2),
                            django.core.validators.MaxValueValidator(10000),
                        ],
                    ),
                ),
                (
                    "context_messages",
                    models.PositiveIntegerField(
                        default=20, validators=[django.core.validators.MaxValueValidator(10000)]
                    ),
                ),
                ("cost_center", models.CharField(blank=True, default="", max_length=100)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="TenantFallbackEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("position", models.PositiveSmallIntegerField(default=0)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="TenantHostEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                (
                    "host",
                    models.CharField(
                        max_length=253,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
                            )
                        ],
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="UpstreamEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.BigIntegerField()),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False)),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[("openai", "OpenAI-compatible"), ("demo", "Demo (in process)")],
                        max_length=16,
                    ),
                ),
                (
                    "base_url",
                    models.CharField(
                        blank=True,
                        default="",
                        max_length=500,
                        validators=[tenants_app.models.catalogue.validate_base_url],
                    ),
                ),
                ("account_id", models.CharField(blank=True, default="", max_length=100)),
                ("gateway_id", models.CharField(blank=True, default="", max_length=100)),
                ("token_changed_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("connect_timeout_ms", models.PositiveIntegerField(default=5000)),
                ("first_byte_timeout_ms", models.PositiveIntegerField(default=60000)),
                ("idle_timeout_ms", models.PositiveIntegerField(default=60000)),
                ("total_timeout_ms", models.PositiveIntegerField(default=900000)),
                ("is_default", models.BooleanField(default=False)),
                ("enabled", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="AllowedModel",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("tenants_app.tenant_allowed_models",),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikey",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "scopes", "tenant_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."scopes", NEW."tenant_id"); RETURN NULL;',
                    hash="6f33cc982035fbd2f6236e7f1125fce1a3078f96",
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
                    condition='WHEN (OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."prefix" IS DISTINCT FROM (NEW."prefix") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."scopes" IS DISTINCT FROM (NEW."scopes") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id"))',
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "scopes", "tenant_id") VALUES (NEW."created_at", NEW."expires_at", NEW."id", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."prefix", NEW."revoked_at", NEW."scopes", NEW."tenant_id"); RETURN NULL;',
                    hash="aa5ff9f9b9d1cc133691c37e2c67c53ad24530cb",
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
                    func='INSERT INTO "tenants_app_apikeyevent" ("created_at", "expires_at", "id", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "prefix", "revoked_at", "scopes", "tenant_id") VALUES (OLD."created_at", OLD."expires_at", OLD."id", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."prefix", OLD."revoked_at", OLD."scopes", OLD."tenant_id"); RETURN NULL;',
                    hash="b5b551f147bedf495db08937b06f31bcefed7944",
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
                    func='INSERT INTO "tenants_app_budgetevent" ("api_key_id", "burst", "id", "limit", "metric", "period", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."api_key_id", NEW."burst", NEW."id", NEW."limit", NEW."metric", NEW."period", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="97c70c04689ad411b95d04aea3292432a42c6532",
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
                    func='INSERT INTO "tenants_app_budgetevent" ("api_key_id", "burst", "id", "limit", "metric", "period", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."api_key_id", NEW."burst", NEW."id", NEW."limit", NEW."metric", NEW."period", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="1649dbecf19b58e4ec25c0891e689bbb35090cad",
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
                    func='INSERT INTO "tenants_app_budgetevent" ("api_key_id", "burst", "id", "limit", "metric", "period", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (OLD."api_key_id", OLD."burst", OLD."id", OLD."limit", OLD."metric", OLD."period", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."tenant_id"); RETURN NULL;',
                    hash="b7e3d045dd5e204bfefbe9c8b1e8c43a396b312f",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_bedc7",
                    table="tenants_app_budget",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="model",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_modelevent" ("context_window", "default_output", "enabled", "hold_bytes_per_token", "id", "image_tokens", "max_output", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "public_id") VALUES (NEW."context_window", NEW."default_output", NEW."enabled", NEW."hold_bytes_per_token", NEW."id", NEW."image_tokens", NEW."max_output", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."public_id"); RETURN NULL;',
                    hash="78dd0b0f4842e01311f7248475660fd664248d34",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_ed272",
                    table="tenants_app_model",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="model",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "tenants_app_modelevent" ("context_window", "default_output", "enabled", "hold_bytes_per_token", "id", "image_tokens", "max_output", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "public_id") VALUES (NEW."context_window", NEW."default_output", NEW."enabled", NEW."hold_bytes_per_token", NEW."id", NEW."image_tokens", NEW."max_output", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."public_id"); RETURN NULL;',
                    hash="1da5446f5f45cfa25acf258d0ee95113e5a64de5",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_84532",
                    table="tenants_app_model",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="model",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_modelevent" ("context_window", "default_output", "enabled", "hold_bytes_per_token", "id", "image_tokens", "max_output", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "public_id") VALUES (OLD."context_window", OLD."default_output", OLD."enabled", OLD."hold_bytes_per_token", OLD."id", OLD."image_tokens", OLD."max_output", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."public_id"); RETURN NULL;',
                    hash="e92736ce3710d0d2fcfe76e8ee6faf72d26d6701",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_4958f",
                    table="tenants_app_model",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="route",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_routeevent" ("id", "model_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "tenant_id", "upstream_id", "upstream_model") VALUES (NEW."id", NEW."model_id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."priority", NEW."tenant_id", NEW."upstream_id", NEW."upstream_model"); RETURN NULL;',
                    hash="02f86382679e685599b8ca042b788df497a2b386",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_3e5e7",
                    table="tenants_app_route",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="route",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "tenants_app_routeevent" ("id", "model_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "tenant_id", "upstream_id", "upstream_model") VALUES (NEW."id", NEW."model_id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."priority", NEW."tenant_id", NEW."upstream_id", NEW."upstream_model"); RETURN NULL;',
                    hash="3cff4332d87fed417d19dd881b9a298b86a95699",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_64b33",
                    table="tenants_app_route",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="route",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_routeevent" ("id", "model_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "priority", "tenant_id", "upstream_id", "upstream_model") VALUES (OLD."id", OLD."model_id", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."priority", OLD."tenant_id", OLD."upstream_id", OLD."upstream_model"); RETURN NULL;',
                    hash="3dbe7e261ed2ed56d0c1d168c82dfd7ee893a10c",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_0f5be",
                    table="tenants_app_route",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenant",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_tenantevent" ("allow_list_enabled", "context_messages", "cost_center", "created_at", "default_model_id", "default_upstream_id", "id", "max_messages_per_session", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "session_memory", "session_retention_days", "slug", "status", "timezone", "updated_at") VALUES (NEW."allow_list_enabled", NEW."context_messages", NEW."cost_center", NEW."created_at", NEW."default_model_id", NEW."default_upstream_id", NEW."id", NEW."max_messages_per_session", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."session_memory", NEW."session_retention_days", NEW."slug", NEW."status", NEW."timezone", NEW."updated_at"); RETURN NULL;',
                    hash="686412c0fe6a268ddd241ca166e2f2e670c92ca0",
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
                    func='INSERT INTO "tenants_app_tenantevent" ("allow_list_enabled", "context_messages", "cost_center", "created_at", "default_model_id", "default_upstream_id", "id", "max_messages_per_session", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "session_memory", "session_retention_days", "slug", "status", "timezone", "updated_at") VALUES (NEW."allow_list_enabled", NEW."context_messages", NEW."cost_center", NEW."created_at", NEW."default_model_id", NEW."default_upstream_id", NEW."id", NEW."max_messages_per_session", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."session_memory", NEW."session_retention_days", NEW."slug", NEW."status", NEW."timezone", NEW."updated_at"); RETURN NULL;',
                    hash="261dfa7db7344610fe03f7485cd528d35c7c33c0",
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
                    func='INSERT INTO "tenants_app_tenantevent" ("allow_list_enabled", "context_messages", "cost_center", "created_at", "default_model_id", "default_upstream_id", "id", "max_messages_per_session", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "session_memory", "session_retention_days", "slug", "status", "timezone", "updated_at") VALUES (OLD."allow_list_enabled", OLD."context_messages", OLD."cost_center", OLD."created_at", OLD."default_model_id", OLD."default_upstream_id", OLD."id", OLD."max_messages_per_session", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."session_memory", OLD."session_retention_days", OLD."slug", OLD."status", OLD."timezone", OLD."updated_at"); RETURN NULL;',
                    hash="91c368c6c1c1ff266d146f2319f062f3d6f3997e",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_be8d4",
                    table="tenants_app_tenant",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenantfallback",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_tenantfallbackevent" ("id", "model_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "tenant_id") VALUES (NEW."id", NEW."model_id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."position", NEW."tenant_id"); RETURN NULL;',
                    hash="41aa780f7f7be1c3042fe0fce08dd146920ad6d0",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_bf0c9",
                    table="tenants_app_tenantfallback",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenantfallback",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "tenants_app_tenantfallbackevent" ("id", "model_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "tenant_id") VALUES (NEW."id", NEW."model_id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."position", NEW."tenant_id"); RETURN NULL;',
                    hash="acdb05b42f91290d9f4908fd31507d3e78acc1e0",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_3a746",
                    table="tenants_app_tenantfallback",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenantfallback",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_tenantfallbackevent" ("id", "model_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "position", "tenant_id") VALUES (OLD."id", OLD."model_id", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."position", OLD."tenant_id"); RETURN NULL;',
                    hash="8d6a02543b216a05b17e716717a79823536d9ca1",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_794be",
                    table="tenants_app_tenantfallback",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenanthost",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_tenanthostevent" ("host", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."host", NEW."id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="2307dc333edfee9a6b36b2142e573bdd710fb063",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_e23d4",
                    table="tenants_app_tenanthost",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenanthost",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "tenants_app_tenanthostevent" ("host", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."host", NEW."id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="8f57f7f1eb5f73d15ecc46ffe4f7dab221fe2dcc",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_fb5cc",
                    table="tenants_app_tenanthost",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenanthost",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_tenanthostevent" ("host", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (OLD."host", OLD."id", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."tenant_id"); RETURN NULL;',
                    hash="b2cbaecb7dfbebdcef512983b3fc048682fbde7c",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_aed2f",
                    table="tenants_app_tenanthost",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="upstream",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_upstreamevent" ("account_id", "base_url", "connect_timeout_ms", "created_at", "enabled", "first_byte_timeout_ms", "gateway_id", "id", "idle_timeout_ms", "is_default", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id", "token_changed_at", "total_timeout_ms", "updated_at", "uuid") VALUES (NEW."account_id", NEW."base_url", NEW."connect_timeout_ms", NEW."created_at", NEW."enabled", NEW."first_byte_timeout_ms", NEW."gateway_id", NEW."id", NEW."idle_timeout_ms", NEW."is_default", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."tenant_id", NEW."token_changed_at", NEW."total_timeout_ms", NEW."updated_at", NEW."uuid"); RETURN NULL;',
                    hash="09e004b01b8f42f3251144ca5d6a513dc54ad10d",
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
                    condition='WHEN (OLD."account_id" IS DISTINCT FROM (NEW."account_id") OR OLD."base_url" IS DISTINCT FROM (NEW."base_url") OR OLD."connect_timeout_ms" IS DISTINCT FROM (NEW."connect_timeout_ms") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."enabled" IS DISTINCT FROM (NEW."enabled") OR OLD."first_byte_timeout_ms" IS DISTINCT FROM (NEW."first_byte_timeout_ms") OR OLD."gateway_id" IS DISTINCT FROM (NEW."gateway_id") OR OLD."id" IS DISTINCT FROM (NEW."id") OR OLD."idle_timeout_ms" IS DISTINCT FROM (NEW."idle_timeout_ms") OR OLD."is_default" IS DISTINCT FROM (NEW."is_default") OR OLD."kind" IS DISTINCT FROM (NEW."kind") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."tenant_id" IS DISTINCT FROM (NEW."tenant_id") OR OLD."token_changed_at" IS DISTINCT FROM (NEW."token_changed_at") OR OLD."total_timeout_ms" IS DISTINCT FROM (NEW."total_timeout_ms") OR OLD."updated_at" IS DISTINCT FROM (NEW."updated_at") OR OLD."uuid" IS DISTINCT FROM (NEW."uuid"))',
                    func='INSERT INTO "tenants_app_upstreamevent" ("account_id", "base_url", "connect_timeout_ms", "created_at", "enabled", "first_byte_timeout_ms", "gateway_id", "id", "idle_timeout_ms", "is_default", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id", "token_changed_at", "total_timeout_ms", "updated_at", "uuid") VALUES (NEW."account_id", NEW."base_url", NEW."connect_timeout_ms", NEW."created_at", NEW."enabled", NEW."first_byte_timeout_ms", NEW."gateway_id", NEW."id", NEW."idle_timeout_ms", NEW."is_default", NEW."kind", NEW."name", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."tenant_id", NEW."token_changed_at", NEW."total_timeout_ms", NEW."updated_at", NEW."uuid"); RETURN NULL;',
                    hash="50bc1c184c180471e72b3ede526dab70a9ec49e5",
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
                    func='INSERT INTO "tenants_app_upstreamevent" ("account_id", "base_url", "connect_timeout_ms", "created_at", "enabled", "first_byte_timeout_ms", "gateway_id", "id", "idle_timeout_ms", "is_default", "kind", "name", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id", "token_changed_at", "total_timeout_ms", "updated_at", "uuid") VALUES (OLD."account_id", OLD."base_url", OLD."connect_timeout_ms", OLD."created_at", OLD."enabled", OLD."first_byte_timeout_ms", OLD."gateway_id", OLD."id", OLD."idle_timeout_ms", OLD."is_default", OLD."kind", OLD."name", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."tenant_id", OLD."token_changed_at", OLD."total_timeout_ms", OLD."updated_at", OLD."uuid"); RETURN NULL;',
                    hash="2f8f1f54a57c760a6c740c4811b2843709063d08",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_48519",
                    table="tenants_app_upstream",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="allowedmodelevent",
            name="model",
            field=models.ForeignKey(
                db_constraint=False,
                db_tablespace="",
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.model",
            ),
        ),
        migrations.AddField(
            model_name="allowedmodelevent",
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
            model_name="allowedmodelevent",
            name="tenant",
            field=models.ForeignKey(
                db_constraint=False,
                db_tablespace="",
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddField(
            model_name="apikeyevent",
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
            model_name="apikeyevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.apikey",
            ),
        ),
        migrations.AddField(
            model_name="apikeyevent",
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
            model_name="budgetevent",
            name="api_key",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.apikey",
            ),
        ),
        migrations.AddField(
            model_name="budgetevent",
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
            model_name="budgetevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.budget",
            ),
        ),
        migrations.AddField(
            model_name="budgetevent",
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
            model_name="modelevent",
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
            model_name="modelevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.model",
            ),
        ),
        migrations.AddField(
            model_name="routeevent",
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
            model_name="routeevent",
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
            model_name="routeevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.route",
            ),
        ),
        migrations.AddField(
            model_name="routeevent",
            name="tenant",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddField(
            model_name="routeevent",
            name="upstream",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.upstream",
            ),
        ),
        migrations.AddField(
            model_name="tenantevent",
            name="default_model",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.model",
            ),
        ),
        migrations.AddField(
            model_name="tenantevent",
            name="default_upstream",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.upstream",
            ),
        ),
        migrations.AddField(
            model_name="tenantevent",
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
            model_name="tenantevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddField(
            model_name="tenantfallbackevent",
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
            model_name="tenantfallbackevent",
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
            model_name="tenantfallbackevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.tenantfallback",
            ),
        ),
        migrations.AddField(
            model_name="tenantfallbackevent",
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
            model_name="tenanthostevent",
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
            model_name="tenanthostevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.tenanthost",
            ),
        ),
        migrations.AddField(
            model_name="tenanthostevent",
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
            model_name="upstreamevent",
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
            model_name="upstreamevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.upstream",
            ),
        ),
        migrations.AddField(
            model_name="upstreamevent",
            name="tenant",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                related_query_name="+",
                to="tenants_app.tenant",
            ),
        ),
        migrations.AddField(
            model_name="allowedmodelevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="tenants_app.allowedmodel",
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="allowedmodel",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_allowedmodelevent" ("id", "model_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."id", NEW."model_id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="d45986bc3e29d79e822b6fe9f6f3dcf12703ebbe",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_b8175",
                    table="tenants_app_tenant_allowed_models",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="allowedmodel",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "tenants_app_allowedmodelevent" ("id", "model_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (NEW."id", NEW."model_id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."tenant_id"); RETURN NULL;',
                    hash="250c5279e52b37a285e9a6fab4b58ec78e2a0a11",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_50e30",
                    table="tenants_app_tenant_allowed_models",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="allowedmodel",
            trigger=pgtrigger.compiler.Trigger(
                name="delete_delete",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "tenants_app_allowedmodelevent" ("id", "model_id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "tenant_id") VALUES (OLD."id", OLD."model_id", _pgh_attach_context(), NOW(), \'delete\', OLD."id", OLD."tenant_id"); RETURN NULL;',
                    hash="62f9091b0bb3b14b0b2392156aa149bc2422e3b1",
                    operation="DELETE",
                    pgid="pgtrigger_delete_delete_b46d6",
                    table="tenants_app_tenant_allowed_models",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="apikeyevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="8d5022ec16167a2b308b4c910271119ae549024d",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_72141",
                    table="tenants_app_apikeyevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="budgetevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="15871ae35d8c316e2f0edafc90d0319675572544",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_2d3f3",
                    table="tenants_app_budgetevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="modelevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="920b922ec8b014bfa1cdba97d16dc77fcbfbf9dd",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_4883a",
                    table="tenants_app_modelevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="routeevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="6ede0b5f7debad6b2a3e85a474c101443876bfd3",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_35934",
                    table="tenants_app_routeevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenantevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="3712072fe439374a86c4f2a672f7b0a62f609a0f",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_366b7",
                    table="tenants_app_tenantevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenantfallbackevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="c987583b21cf11a12d4b0c3dc9da86d877abd393",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_1d1d2",
                    table="tenants_app_tenantfallbackevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="tenanthostevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="5c645b292a94ba020764d7aa1e6e4c33c46e3b17",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_7e120",
                    table="tenants_app_tenanthostevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="upstreamevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="acb3a44695a454330b9ebac077d31b18f24af2a0",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_194ae",
                    table="tenants_app_upstreamevent",
                    when="BEFORE",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="allowedmodelevent",
            trigger=pgtrigger.compiler.Trigger(
                name="append_only",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;",
                    hash="1197415238842e29d18d79f71cd215df4a7b227b",
                    operation="UPDATE OR DELETE",
                    pgid="pgtrigger_append_only_c55f9",
                    table="tenants_app_allowedmodelevent",
                    when="BEFORE",
                ),
            ),
        ),
    ]
