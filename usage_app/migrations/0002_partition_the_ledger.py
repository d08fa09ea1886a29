"""The ledger becomes a table partitioned by month whose key is (id, created_at), and which only
ever grows.
"""

from django.db import migrations

# The table that Django made serves as the pattern: columns, defaults and checks come from it, so
# that models and database cannot differ.
PARTITION = """
ALTER TABLE usage_app_ledgerentry RENAME TO usage_app_ledgerentry_pattern;
CREATE TABLE usage_app_ledgerentry
    (LIKE usage_app_ledgerentry_pattern INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (created_at);
DROP TABLE usage_app_ledgerentry_pattern;
ALTER TABLE usage_app_ledgerentry ADD CONSTRAINT entry_key PRIMARY KEY (id, created_at);
CREATE INDEX entry_tenant_day ON usage_app_ledgerentry (tenant_id, local_day);
CREATE INDEX entry_tenant_newest ON usage_app_ledgerentry (tenant_id, created_at DESC);
CREATE INDEX entry_newest ON usage_app_ledgerentry (created_at DESC, id);
CREATE INDEX entry_trace ON usage_app_ledgerentry (trace_id);
CREATE INDEX entry_corrects ON usage_app_ledgerentry (corrects) WHERE corrects IS NOT NULL;
CREATE TABLE usage_app_ledgerentry_default PARTITION OF usage_app_ledgerentry DEFAULT;
"""

# Tests empty tables by TRUNCATE; only a connection that says so in a setting may.
APPEND_ONLY = """
CREATE FUNCTION tollgate_ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' AND current_setting('tollgate.allow_truncate', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the ledger is append-only: % refused', TG_OP
        USING HINT = 'Write a correction instead.', ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE ON usage_app_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION tollgate_ledger_is_append_only();
CREATE TRIGGER ledger_is_append_only_truncate BEFORE TRUNCATE ON usage_app_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION tollgate_ledger_is_append_only();
CREATE TRIGGER ledger_is_append_only_truncate BEFORE TRUNCATE ON usage_app_ledgerentry_default
    FOR EACH STATEMENT EXECUTE FUNCTION tollgate_ledger_is_append_only();
"""

# Counters are updated with every batch: leave room on each page, and clean up early.
HOT = """
ALTER TABLE usage_app_usagewindow SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE usage_app_ratebucket SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE usage_app_reservation SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
"""

FROZEN = """
CREATE FUNCTION tollgate_timezone_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM usage_app_usagewindow WHERE tenant_id = OLD.id) THEN
        RAISE EXCEPTION 'the time zone of tenant % is frozen: its days are already counted', OLD.slug
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tenant_timezone_is_frozen BEFORE UPDATE OF timezone ON tenants_app_tenant
    FOR EACH ROW WHEN (OLD.timezone IS DISTINCT FROM NEW.timezone) EXECUTE FUNCTION tollgate_timezone_is_frozen();

CREATE FUNCTION tollgate_used_price_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM usage_app_reservation WHERE price_id = OLD.id)
        OR EXISTS (SELECT 1 FROM usage_app_ledgerentry WHERE price_id = OLD.id AND created_at >= OLD.valid_from)
    THEN
        RAISE EXCEPTION 'price % has been used: add one that supersedes it', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER used_price_is_frozen BEFORE UPDATE OR DELETE ON usage_app_price
    FOR EACH ROW EXECUTE FUNCTION tollgate_used_price_is_frozen();
"""

FORGET = """
DROP TRIGGER used_price_is_frozen ON usage_app_price;
DROP FUNCTION tollgate_used_price_is_frozen();
DROP TRIGGER tenant_timezone_is_frozen ON tenants_app_tenant;
DROP FUNCTION tollgate_timezone_is_frozen();
"""


def make_partitions(apps, schema_editor):
    from datetime import UTC, datetime

    from usage_app import partitions

    partitions.make_ahead(datetime.now(UTC).date())


class Migration(migrations.Migration):
    dependencies = [("usage_app", "0001_windows_holds_ledger_prices_rollups")]

    operations = [
        migrations.RunSQL(PARTITION, migrations.RunSQL.noop),
        migrations.RunSQL(APPEND_ONLY, "DROP FUNCTION tollgate_ledger_is_append_only() CASCADE"),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
        migrations.RunSQL(HOT, migrations.RunSQL.noop),
        migrations.RunSQL(FROZEN, FORGET),
    ]
