"""Those who look after tenants may try models at their charge."""

from django.db import migrations


def give(apps, schema_editor):
    from gateway_project import roles

    roles.make(["Operator", "Tenant staff"])


class Migration(migrations.Migration):
    dependencies = [
        ("gateway_project", "0005_roles_know_alerts"),
        ("tenants_app", "0011_playground_keys"),
    ]

    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
