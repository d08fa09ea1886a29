"""The group of staff who are held to some tenants."""

from django.db import migrations


def make_role(apps, schema_editor):
    from gateway_project import roles

    roles.make(["Tenant staff"])


class Migration(migrations.Migration):
    dependencies = [
        ("gateway_project", "0002_throttled_logins"),
        ("tenants_app", "0009_staff_are_held_to_tenants"),
    ]

    operations = [migrations.RunPython(make_role, migrations.RunPython.noop)]
