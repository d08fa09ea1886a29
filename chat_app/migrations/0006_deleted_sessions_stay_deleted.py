"""What deletes a session leaves a mark, by which turns still under way write nothing of it."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("chat_app", "0005_every_message_has_a_turn"),
    ]

    operations = [
        migrations.CreateModel(
            name="ForgottenSession",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("session_id", models.UUIDField()),
                ("turn_id", models.UUIDField()),
                (
                    "forgotten_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["forgotten_at"], name="forgotten_oldest_first")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "session_id"), name="session_forgotten_once_per_tenant"
                    )
                ],
            },
        ),
    ]
