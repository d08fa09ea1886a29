"""Logins are throttled; operators may let somebody try again."""

from django.db import migrations, models


def grant(apps, schema_editor):
    from gateway_project import roles

    roles.make(("Operator", "Auditor"))


class Migration(migrations.Migration):
    dependencies = [
        ("gateway_project", "0001_roles"),
    ]

    operations = [
        migrations.CreateModel(
            name="LoginThrottle",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("account", "account"),
                            ("address", "address"),
                            ("browser", "known browser"),
                        ],
                        max_length=10,
                    ),
                ),
                ("subject", models.CharField(editable=False, max_length=200)),
                (
                    "full_again_at",
                    models.DateTimeField(
                        help_text="When all tries are there again; the row is then forgotten."
                    ),
                ),
            ],
            options={
                "verbose_name": "login throttle",
                "ordering": ["-full_again_at", "id"],
                "indexes": [models.Index(fields=["full_again_at"], name="login_throttle_by_end")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["account", "address", "browser"])),
                        name="login_throttle_kind_is_known",
                    ),
                    models.UniqueConstraint(fields=("kind", "subject"), name="login_throttle_once"),
                ],
            },
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
