"""The roles may see, and operators make, teams."""

from django.db import migrations


def make_roles(apps, schema_editor):
    from gateway_project import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies = [("gateway_project", "0007_worker_heartbeat"), ("tenants_app", "0012_teams")]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
