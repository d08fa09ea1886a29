"""The groups Operator, Finance and Auditor."""

from django.db import migrations


def make_roles(apps, schema_editor):
    from gateway_project import roles

    roles.make()


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("chat_app", "0006_deleted_sessions_stay_deleted"),
        ("tenants_app", "0008_prompts_have_templates"),
        ("usage_app", "0016_staff_tokens"),
    ]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
