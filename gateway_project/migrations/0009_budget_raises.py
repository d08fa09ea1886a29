"""The roles may see, and operators give and cancel, raises of budgets."""

from django.db import migrations


def make_roles(apps, schema_editor):
    from gateway_project import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies = [("gateway_project", "0008_teams"), ("tenants_app", "0014_budget_raises")]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
