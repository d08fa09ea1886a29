"""A row by which beat, broker and worker show that they live."""

from django.db import migrations, models
from django.utils import timezone


def begin(apps, schema_editor):
    # Whoever looks before the first task has run is not to be frightened.
    apps.get_model("gateway_project", "WorkerHeartbeat").objects.create(beat_at=timezone.now())


class Migration(migrations.Migration):
    dependencies = [
        ("gateway_project", "0006_roles_try_models"),
    ]

    operations = [
        migrations.CreateModel(
            name="WorkerHeartbeat",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("beat_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="worker_heart_is_one"
                    )
                ],
            },
        ),
        migrations.RunPython(begin, migrations.RunPython.noop),
    ]
