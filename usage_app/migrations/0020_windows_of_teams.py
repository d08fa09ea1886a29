"""Windows and buckets of teams. The counters are in use meanwhile: their new index is made beside
the old one, and what is checked is checked after it holds for new rows.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

COLUMNS = """
SET lock_timeout = '5s';
ALTER TABLE usage_app_usagewindow ADD COLUMN IF NOT EXISTS team_id bigint;
ALTER TABLE usage_app_ratebucket ADD COLUMN IF NOT EXISTS team_id bigint;
"""
FORGET = """
ALTER TABLE usage_app_usagewindow DROP COLUMN team_id;
ALTER TABLE usage_app_ratebucket DROP COLUMN team_id;
"""
TABLES = (
    ("window", "usage_app_usagewindow", "scope_and_period", "period, starts_at"),
    ("bucket", "usage_app_ratebucket", "scope_and_metric", "metric"),
)


def constrain(apps, schema_editor):
    """Also when an earlier attempt got half of the way."""
    execute = schema_editor.execute
    for noun, table, what, columns in TABLES:
        own, unique = f"{noun}_is_of_a_team_or_of_a_key", f"{noun}_is_one_per_{what}"
        team = f"{table}_team_id_fk"
        execute(f"DROP INDEX CONCURRENTLY IF EXISTS {unique}_new")
        execute("SET lock_timeout = 0")
        execute(
            f"CREATE UNIQUE INDEX CONCURRENTLY {unique}_new ON {table}"
            f" (tenant_id, api_key_id, team_id, {columns}) NULLS NOT DISTINCT"
        )
        execute("SET lock_timeout = '5s'")
        execute(
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {unique},"
            f" DROP CONSTRAINT IF EXISTS {own}, DROP CONSTRAINT IF EXISTS {team},"
            f" ADD CONSTRAINT {unique} UNIQUE USING INDEX {unique}_new,"
            f" ADD CONSTRAINT {own} CHECK (team_id IS NULL OR api_key_id IS NULL) NOT VALID,"
            f" ADD CONSTRAINT {team} FOREIGN KEY (team_id) REFERENCES tenants_app_team (id)"
            " DEFERRABLE INITIALLY DEFERRED NOT VALID"
        )
        execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {own}, VALIDATE CONSTRAINT {team}")
    execute("RESET lock_timeout")


def release(apps, schema_editor):
    for noun, table, what, columns in TABLES:
        unique = f"{noun}_is_one_per_{what}"
        schema_editor.execute(f"DELETE FROM {table} WHERE team_id IS NOT NULL")
        schema_editor.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT {unique},"
            f" ADD CONSTRAINT {unique} UNIQUE NULLS NOT DISTINCT (tenant_id, api_key_id, {columns})"
        )


def of_a_team():
    return models.ForeignKey(
        db_index=False,
        null=True,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to="tenants_app.team",
    )


def once(name, *fields):
    return models.UniqueConstraint(fields=fields, name=name, nulls_distinct=False)


def of_one(name):
    return models.CheckConstraint(
        condition=Q(("team", None), ("api_key", None), _connector="OR"), name=name
    )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("tenants_app", "0012_teams"),
        ("usage_app", "0019_alerts"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(COLUMNS, FORGET),
                migrations.RunPython(constrain, release),
            ],
            [
                migrations.RemoveConstraint("ratebucket", "bucket_is_one_per_scope_and_metric"),
                migrations.RemoveConstraint("usagewindow", "window_is_one_per_scope_and_period"),
                migrations.AddField("ratebucket", "team", of_a_team()),
                migrations.AddField("usagewindow", "team", of_a_team()),
                migrations.AddConstraint(
                    "ratebucket",
                    once(
                        "bucket_is_one_per_scope_and_metric", "tenant", "api_key", "team", "metric"
                    ),
                ),
                migrations.AddConstraint("ratebucket", of_one("bucket_is_of_a_team_or_of_a_key")),
                migrations.AddConstraint(
                    "usagewindow",
                    once(
                        "window_is_one_per_scope_and_period",
                        *("tenant", "api_key", "team", "period", "starts_at"),
                    ),
                ),
                migrations.AddConstraint("usagewindow", of_one("window_is_of_a_team_or_of_a_key")),
            ],
        ),
        migrations.AddField(
            "drift",
            "team",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="tenants_app.team",
            ),
        ),
        migrations.AddField(
            "alert",
            "team",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants_app.team",
            ),
        ),
    ]
