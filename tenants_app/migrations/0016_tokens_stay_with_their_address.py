"""A provider's token is sent only where it was given for."""

from django.db import migrations

STAYS = """
CREATE FUNCTION tollgate_refuse_token_for_another_address() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'upstream_token_stays_with_its_address' USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER upstream_token_stays_with_its_address
BEFORE UPDATE ON tenants_app_upstream FOR EACH ROW
WHEN (
    NEW.sealed_token = OLD.sealed_token
    AND (NEW.kind, NEW.base_url, NEW.account_id, NEW.gateway_id)
        IS DISTINCT FROM (OLD.kind, OLD.base_url, OLD.account_id, OLD.gateway_id)
)
EXECUTE FUNCTION tollgate_refuse_token_for_another_address();
"""


class Migration(migrations.Migration):
    dependencies = [("tenants_app", "0015_keys_issued_together")]

    operations = [
        migrations.RunSQL(
            STAYS, "DROP FUNCTION tollgate_refuse_token_for_another_address() CASCADE"
        )
    ]
