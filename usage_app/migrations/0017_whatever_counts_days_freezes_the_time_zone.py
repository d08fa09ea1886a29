"""A tenant that has credits alone has no window, and its days are counted all the same."""

from django.db import migrations

_FUNCTION = """
CREATE OR REPLACE FUNCTION tollgate_timezone_is_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {counted} THEN
        RAISE EXCEPTION 'the time zone of tenant % is frozen: its days are already counted', OLD.slug
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""
_WINDOWS = "EXISTS (SELECT 1 FROM usage_app_usagewindow WHERE tenant_id = OLD.id)"
_BOOKS = f"""{_WINDOWS}
        OR EXISTS (SELECT 1 FROM usage_app_ledgerentry WHERE tenant_id = OLD.id)
        OR EXISTS (SELECT 1 FROM usage_app_statement WHERE tenant_id = OLD.id)"""


class Migration(migrations.Migration):
    dependencies = [("usage_app", "0016_staff_tokens")]

    operations = [
        migrations.RunSQL(_FUNCTION.format(counted=_BOOKS), _FUNCTION.format(counted=_WINDOWS))
    ]
