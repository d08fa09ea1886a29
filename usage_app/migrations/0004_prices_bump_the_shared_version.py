"""A price is configuration of all tenants: admissions see a change of the book at once."""

from django.db import migrations

BUMP = """
CREATE CONSTRAINT TRIGGER price_bumps_version
    AFTER INSERT OR UPDATE OR DELETE ON usage_app_price
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tollgate_bump_version();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("usage_app", "0003_find_what_was_settled_lately"),
        ("tenants_app", "0002_versions_follow_every_change"),
    ]

    operations = [migrations.RunSQL(BUMP, "DROP TRIGGER price_bumps_version ON usage_app_price")]
