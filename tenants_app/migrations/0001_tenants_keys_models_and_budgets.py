"""The first tables; a budget for a key must be the budget of that key's tenant."""

import uuid
from decimal import Decimal

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.constraints
import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models

import tenants_app.models.catalogue
import tenants_app.models.keys
import tenants_app.models.tenants
import tenants_app.sealed


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("prefix", models.CharField(editable=False, max_length=16)),
                ("digest", models.BinaryField(max_length=32, unique=True)),
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
                "verbose_name": "API key",
                "ordering": ["tenant", "name", "id"],
            },
        ),
        migrations.CreateModel(
            name="ApiKeyUse",
            fields=[
                (
                    "key",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="use",
                        serialize=False,
                        to="tenants_app.apikey",
                    ),
                ),
                ("last_used_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Model",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("public_id", models.CharField(max_length=200, unique=True)),
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
                "ordering": ["public_id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("public_id", ""), _negated=True),
                        name="model_id_not_empty",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("default_output__gte", 1),
                            ("max_output__gte", models.F("default_output")),
                            ("max_output__lte", 100000000),
                        ),
                        name="model_outputs_are_ordered",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("hold_bytes_per_token__gt", 0),
                            ("image_tokens__lte", 100000000),
                            models.Q(
                                ("context_window", None),
                                ("context_window__range", (1, 100000000)),
                                _connector="OR",
                            ),
                        ),
                        name="model_sizes_are_sensible",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Tenant",
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
                        unique=True,
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
                (
                    "allowed_models",
                    models.ManyToManyField(
                        blank=True, related_name="allowed_for", to="tenants_app.model"
                    ),
                ),
                (
                    "default_model",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.RESTRICT,
                        related_name="default_of",
                        to="tenants_app.model",
                    ),
                ),
            ],
            options={
                "ordering": ["slug"],
            },
        ),
        migrations.AddField(
            model_name="apikey",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="keys",
                to="tenants_app.tenant",
            ),
        ),
        migrations.CreateModel(
            name="TenantFallback",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.PositiveSmallIntegerField(default=0)),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.RESTRICT,
                        related_name="fallback_of",
                        to="tenants_app.model",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="fallbacks",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["tenant", "position"],
            },
        ),
        migrations.CreateModel(
            name="TenantHost",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "host",
                    models.CharField(
                        max_length=253,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
                            )
                        ],
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="hosts",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["host"],
            },
        ),
        migrations.CreateModel(
            name="Upstream",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
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
                ("sealed_token", tenants_app.sealed.SealedField(blank=True, null=True)),
                ("token_changed_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("connect_timeout_ms", models.PositiveIntegerField(default=5000)),
                ("first_byte_timeout_ms", models.PositiveIntegerField(default=60000)),
                ("idle_timeout_ms", models.PositiveIntegerField(default=60000)),
                ("total_timeout_ms", models.PositiveIntegerField(default=900000)),
                ("is_default", models.BooleanField(default=False)),
                ("enabled", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="upstreams",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.AddField(
            model_name="tenant",
            name="default_upstream",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.RESTRICT,
                related_name="default_of",
                to="tenants_app.upstream",
            ),
        ),
        migrations.CreateModel(
            name="Route",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("upstream_model", models.CharField(blank=True, default="", max_length=200)),
                ("priority", models.IntegerField(default=100)),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="routes",
                        to="tenants_app.model",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="routes",
                        to="tenants_app.tenant",
                    ),
                ),
                (
                    "upstream",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="routes",
                        to="tenants_app.upstream",
                    ),
                ),
            ],
            options={
                "ordering": ["model", "priority", "id"],
            },
        ),
        migrations.CreateModel(
            name="ConfigurationVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.BigIntegerField()),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant",), name="version_once_per_tenant", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Budget",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
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
                (
                    "api_key",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="budgets",
                        to="tenants_app.apikey",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="budgets",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["tenant", "api_key", "metric", "period"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "api_key", "metric", "period"),
                        name="budget_once_per_scope_metric_and_period",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("limit__gt", 0), ("limit__lte", Decimal(1000000000000))
                        ),
                        name="budget_limit_is_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("metric", "cost"),
                            ("limit", models.Func(models.F("limit"), function="trunc")),
                            _connector="OR",
                        ),
                        name="budget_limit_is_whole_unless_cost",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("metric", "requests"), ("period", "concurrent")),
                            models.Q(("metric__in", ["requests", "tokens"]), ("period", "minute")),
                            models.Q(
                                ("metric__in", ["requests", "tokens", "cost"]),
                                ("period__in", ["day", "month"]),
                            ),
                            _connector="OR",
                        ),
                        name="budget_metric_suits_its_period",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("burst", None),
                            models.Q(
                                ("burst__gte", 1),
                                ("burst__lte", 1000000000000),
                                ("period", "minute"),
                            ),
                            _connector="OR",
                        ),
                        name="budget_burst_only_per_minute",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=django.db.models.lookups.Exact(
                    models.Func(
                        models.F("digest"),
                        function="octet_length",
                        output_field=models.IntegerField(),
                    ),
                    32,
                ),
                name="key_digest_is_a_sha256",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.UniqueConstraint(
                fields=("id", "tenant"), name="key_belongs_to_one_tenant"
            ),
        ),
        migrations.AddConstraint(
            model_name="tenantfallback",
            constraint=models.UniqueConstraint(
                fields=("tenant", "model"), name="fallback_model_once_per_tenant"
            ),
        ),
        migrations.AddConstraint(
            model_name="tenantfallback",
            constraint=models.UniqueConstraint(
                deferrable=django.db.models.constraints.Deferrable["DEFERRED"],
                fields=("tenant", "position"),
                name="fallback_position_once_per_tenant",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenanthost",
            constraint=models.CheckConstraint(
                condition=models.Q(("host__regex", "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")),
                name="host_is_a_lower_case_name",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstream",
            constraint=models.UniqueConstraint(
                fields=("tenant", "name"),
                name="upstream_name_once_per_tenant",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="upstream",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_default", True)),
                fields=("is_default",),
                name="upstream_default_is_only_one",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstream",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_default", False), ("tenant__isnull", True), _connector="OR"
                ),
                name="upstream_default_is_shared",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstream",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind", "demo"), models.Q(("base_url", ""), _negated=True), _connector="OR"
                ),
                name="upstream_has_a_base_url",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstream",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("connect_timeout_ms__range", (1, 86400000)),
                    ("first_byte_timeout_ms__range", (1, 86400000)),
                    ("idle_timeout_ms__range", (1, 86400000)),
                    ("total_timeout_ms__range", (1, 86400000)),
                ),
                name="upstream_timeouts_are_sensible",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("slug__regex", "^[a-z0-9][a-z0-9_-]{0,62}$")),
                name="tenant_slug_is_plain",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["active", "suspended"])),
                name="tenant_status_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("context_messages__lte", 10000),
                    ("max_messages_per_session__range", (2, 10000)),
                    ("session_retention_days__range", (1, 3650)),
                ),
                name="tenant_session_limits_are_sensible",
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.UniqueConstraint(
                fields=("model", "upstream", "tenant"),
                name="route_once_per_model_upstream_and_tenant",
                nulls_distinct=False,
            ),
        ),
        migrations.RunSQL(
            sql="""
                ALTER TABLE tenants_app_budget
                ADD CONSTRAINT budget_key_belongs_to_its_tenant
                FOREIGN KEY (api_key_id, tenant_id) REFERENCES tenants_app_apikey (id, tenant_id)
                DEFERRABLE INITIALLY DEFERRED
            """,
            reverse_sql="ALTER TABLE tenants_app_budget DROP CONSTRAINT budget_key_belongs_to_its_tenant",
        ),
    ]
