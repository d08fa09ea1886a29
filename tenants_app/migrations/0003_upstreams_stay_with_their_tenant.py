"""No tenant uses another's upstream, and a change of token is dated without being shown."""

from django.db import migrations

OWNER = """
CREATE FUNCTION tollgate_refuse_anothers_upstream() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM tenants_app_route route JOIN tenants_app_upstream upstream
        ON upstream.id = route.upstream_id
        WHERE (TG_TABLE_NAME, NEW.id) IN
              (('tenants_app_route', route.id), ('tenants_app_upstream', upstream.id))
        AND upstream.tenant_id IS NOT NULL AND upstream.tenant_id IS DISTINCT FROM route.tenant_id
    ) OR EXISTS (
        SELECT FROM tenants_app_tenant tenant JOIN tenants_app_upstream upstream
        ON upstream.id = tenant.default_upstream_id
        WHERE (TG_TABLE_NAME, NEW.id) IN
              (('tenants_app_tenant', tenant.id), ('tenants_app_upstream', upstream.id))
        AND upstream.tenant_id <> tenant.id
    ) THEN
        RAISE EXCEPTION 'upstream_belongs_to_another_tenant' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
""" + "".join(
    f"""
    CREATE CONSTRAINT TRIGGER {table}_uses_no_upstream_of_another_tenant
    AFTER INSERT OR UPDATE ON tenants_app_{table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION tollgate_refuse_anothers_upstream();
    """
    for table in ("route", "tenant", "upstream")
)

DATE = """
CREATE FUNCTION tollgate_date_change_of_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.token_changed_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER upstream_dates_a_first_token
BEFORE INSERT ON tenants_app_upstream FOR EACH ROW WHEN (NEW.sealed_token IS NOT NULL)
EXECUTE FUNCTION tollgate_date_change_of_token();

CREATE TRIGGER upstream_dates_a_change_of_token
BEFORE UPDATE ON tenants_app_upstream FOR EACH ROW
WHEN (NEW.sealed_token IS DISTINCT FROM OLD.sealed_token)
EXECUTE FUNCTION tollgate_date_change_of_token();
"""


class Migration(migrations.Migration):
    dependencies = [("tenants_app", "0002_versions_follow_every_change")]

    operations = [
        migrations.RunSQL(OWNER, "DROP FUNCTION tollgate_refuse_anothers_upstream() CASCADE"),
        migrations.RunSQL(DATE, "DROP FUNCTION tollgate_date_change_of_token() CASCADE"),
    ]
