"""Triggers that bump a tenant's version, or the shared one, with every change of configuration.

They are deferred, so that an open transaction blocks nobody, and bump once per transaction and
tenant under one advisory lock, so that two imports in opposite order cannot deadlock. Another app's
table joins with a trigger of its own: no argument bumps the shared version, one argument names the
column that holds the tenant (null: shared).
"""

from django.db import migrations

# A first version is the clock, not 1: a row made again after a TRUNCATE must not repeat a number.
FIRST_VERSION = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
LOCK = "pg_advisory_xact_lock(hashtext('tollgate_bump_version'))"

BUMP = f"""
CREATE FUNCTION tollgate_bump_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tenants bigint[] := '{{}}';
    tenant bigint;
    bumped text;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD IS NOT DISTINCT FROM NEW THEN
        RETURN NULL;
    END IF;
    -- 0 stands for the shared tables. A row that moves bumps where it was and where it is.
    IF TG_OP <> 'INSERT' THEN
        tenants := tenants || coalesce((to_jsonb(OLD) ->> TG_ARGV[0])::bigint, 0);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        tenants := tenants || coalesce((to_jsonb(NEW) ->> TG_ARGV[0])::bigint, 0);
    END IF;
    FOREACH tenant IN ARRAY tenants LOOP
        -- Local to the transaction, and undone with a savepoint just as the bump itself is.
        bumped := coalesce(current_setting('tollgate.bumped', true), '');
        CONTINUE WHEN position(',' || tenant || ',' IN bumped) > 0;
        PERFORM {LOCK};
        INSERT INTO tenants_app_configurationversion AS kept (tenant_id, version)
        SELECT nullif(tenant, 0), {FIRST_VERSION}
        WHERE tenant = 0 OR EXISTS (SELECT FROM tenants_app_tenant WHERE id = tenant)
        ON CONFLICT (tenant_id) DO UPDATE SET version = kept.version + 1;
        IF NOT FOUND THEN
            DELETE FROM tenants_app_configurationversion WHERE tenant_id = tenant;
        END IF;
        PERFORM set_config('tollgate.bumped', bumped || ',' || tenant || ',', true);
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION tollgate_bump_every_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {LOCK};
    UPDATE tenants_app_configurationversion SET version = version + 1;
    RETURN NULL;
END $$;

INSERT INTO tenants_app_configurationversion (tenant_id, version)
SELECT id, {FIRST_VERSION} FROM tenants_app_tenant UNION ALL SELECT NULL, {FIRST_VERSION};
"""

UNDO_BUMP = """
DROP FUNCTION tollgate_bump_version() CASCADE;
DROP FUNCTION tollgate_bump_every_version() CASCADE;
"""

# Table, and the columns that hold a tenant; "" is the shared version. The hosts of all tenants are
# in everyone's snapshot, since a request's host may be another tenant's.
WATCHED = [
    ("tenant", "id"),
    ("tenant_allowed_models", "tenant_id"),
    ("tenantfallback", "tenant_id"),
    ("tenanthost", "tenant_id"),
    ("tenanthost", ""),
    ("upstream", "tenant_id"),
    ("model", ""),
    ("route", "tenant_id"),
    ("apikey", "tenant_id"),
    ("budget", "tenant_id"),
]


def watch(table: str, column: str) -> str:
    name = f"{table}_bumps_{'its' if column else 'the_shared'}_version"
    return f"""
        CREATE CONSTRAINT TRIGGER {name}
        AFTER INSERT OR UPDATE OR DELETE ON tenants_app_{table}
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        EXECUTE FUNCTION tollgate_bump_version({f"'{column}'" if column else ""});
    """


def watch_truncate(table: str) -> str:
    return f"""
        CREATE TRIGGER {table}_truncate_bumps_every_version
        AFTER TRUNCATE ON tenants_app_{table}
        FOR EACH STATEMENT EXECUTE FUNCTION tollgate_bump_every_version();
    """


class Migration(migrations.Migration):
    dependencies = [("tenants_app", "0001_tenants_keys_models_and_budgets")]

    operations = [
        migrations.RunSQL(BUMP, UNDO_BUMP),
        migrations.RunSQL(
            "".join(watch(table, column) for table, column in WATCHED)
            + "".join(watch_truncate(table) for table in dict(WATCHED)),
            migrations.RunSQL.noop,
        ),
    ]
