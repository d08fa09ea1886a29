"""Statements never change and follow one another; what they count takes no entry and no margin.

The trigger on the ledger runs once a statement, looks at each tenant of it once, and is made under
a lock_timeout: run the migration again when it waited behind a long transaction.
"""

from django.db import migrations

FROZEN = """
CREATE FUNCTION tollgate_statement_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' AND current_setting('tollgate.allow_truncate', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'a closed statement never changes: % refused', TG_OP
        USING HINT = 'Write a correction in an open month.', ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION tollgate_statement_follows_the_last() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    latest record;
BEGIN
    SELECT month, checksum INTO latest FROM usage_app_statement
    WHERE tenant_id = NEW.tenant_id ORDER BY month DESC LIMIT 1;
    IF NEW.month < latest.month OR NEW.previous <> coalesce(latest.checksum, '') THEN
        RAISE EXCEPTION 'a statement follows the last one of its tenant, and carries its checksum'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER statement_follows_the_last BEFORE INSERT ON usage_app_statement
    FOR EACH ROW EXECUTE FUNCTION tollgate_statement_follows_the_last();

CREATE FUNCTION tollgate_statement_is_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted text := CASE TG_TABLE_NAME
        WHEN 'usage_app_statementline' THEN 'line_count' ELSE 'day_count' END;
    too_many boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT 1
        FROM (SELECT DISTINCT statement_id FROM written) n
        JOIN usage_app_statement s ON s.id = n.statement_id
        WHERE s.%I < (SELECT count(*) FROM %I r WHERE r.statement_id = s.id))',
        counted, TG_TABLE_NAME) INTO too_many;
    IF too_many THEN
        RAISE EXCEPTION 'a closed statement is complete: nothing is added to it'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
"""

FORGET_FROZEN = """
DROP FUNCTION tollgate_statement_is_complete() CASCADE;
DROP FUNCTION tollgate_statement_follows_the_last() CASCADE;
DROP FUNCTION tollgate_statement_is_frozen() CASCADE;
"""

_TABLE = """
CREATE TRIGGER statement_is_frozen BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION tollgate_statement_is_frozen();
CREATE TRIGGER statement_is_frozen_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION tollgate_statement_is_frozen();
"""
_PART = """
CREATE TRIGGER statement_is_complete AFTER INSERT ON {table} REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION tollgate_statement_is_complete();
"""
_PARTS = ("usage_app_statementline", "usage_app_statementday")
TABLES = "".join(
    [_TABLE.format(table=table) for table in ("usage_app_statement", *_PARTS)]
    + [_PART.format(table=table) for table in _PARTS]
)

# A close locks the month's windows, which every request's entry locks too, and then the tenant's
# months. What touches no window asks for the months here; in that order, so that nobody waits in a
# circle.
CLOSED = """
SET LOCAL lock_timeout = '2s';
CREATE FUNCTION tollgate_closed_month_takes_no_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    refused record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('usage_app.months ' || tenant_id, 0))
    FROM (SELECT DISTINCT tenant_id FROM written WHERE kind <> 'usage' ORDER BY tenant_id) later;
    SELECT n.tenant_id, n.first_day, s.month INTO refused
    FROM (SELECT tenant_id, min(local_day) AS first_day FROM written GROUP BY tenant_id) n
    CROSS JOIN LATERAL (
        SELECT month FROM usage_app_statement
        WHERE tenant_id = n.tenant_id ORDER BY month DESC LIMIT 1
    ) s
    WHERE n.first_day < s.month + interval '1 month'
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the month of % is closed for this tenant: its ledger takes no entry',
            refused.first_day USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER closed_month_takes_no_entry AFTER INSERT ON usage_app_ledgerentry
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION tollgate_closed_month_takes_no_entry();

CREATE FUNCTION tollgate_closed_month_keeps_its_margin() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched record;
BEGIN
    FOR touched IN
        SELECT tenant_id, min(valid_from) AS valid_from
        FROM (VALUES (OLD.tenant_id, OLD.valid_from), (NEW.tenant_id, NEW.valid_from))
            AS t(tenant_id, valid_from)
        WHERE tenant_id IS NOT NULL GROUP BY tenant_id ORDER BY tenant_id
    LOOP
        PERFORM pg_advisory_xact_lock_shared(
            hashtextextended('usage_app.months ' || touched.tenant_id, 0));
        IF EXISTS (SELECT 1 FROM usage_app_statement WHERE tenant_id = touched.tenant_id
            AND touched.valid_from < month + interval '1 month')
        THEN
            RAISE EXCEPTION 'the month of % is closed for this tenant: its margin is frozen',
                touched.valid_from USING ERRCODE = 'restrict_violation';
        END IF;
    END LOOP;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER closed_month_keeps_its_margin BEFORE INSERT OR UPDATE OR DELETE ON usage_app_margin
    FOR EACH ROW EXECUTE FUNCTION tollgate_closed_month_keeps_its_margin();
"""

REOPENED = """
DROP FUNCTION tollgate_closed_month_keeps_its_margin() CASCADE;
DROP FUNCTION tollgate_closed_month_takes_no_entry() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [("usage_app", "0010_statements")]

    operations = [
        migrations.RunSQL(FROZEN + TABLES, FORGET_FROZEN),
        migrations.RunSQL(CLOSED, REOPENED),
    ]
