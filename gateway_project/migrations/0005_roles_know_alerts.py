"""What the groups may do with alerts."""

from django.db import migrations


def make_roles(apps, schema_editor):
    from gateway_project import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies = [
        ("gateway_project", "0004_oidc_identities"),
        ("tenants_app", "0010_budgets_are_watched"),
        ("usage_app", "0019_alerts"),
    ]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
