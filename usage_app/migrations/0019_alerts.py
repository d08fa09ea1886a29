"""Alerts of budgets, and to whom they were sent."""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants_app", "0010_budgets_are_watched"),
        ("usage_app", "0018_find_the_requests_that_failed"),
    ]

    operations = [
        migrations.CreateModel(
            name="Alert",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("metric", models.CharField(max_length=16)),
                ("period", models.CharField(max_length=16)),
                ("starts_at", models.DateTimeField(help_text="When the window began.")),
                ("ends_at", models.DateTimeField(help_text="When the budget is whole again.")),
                ("percent", models.PositiveSmallIntegerField()),
                ("told_percent", models.PositiveSmallIntegerField()),
                ("used", models.DecimalField(decimal_places=10, max_digits=24)),
                ("limit", models.DecimalField(decimal_places=10, max_digits=24)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "api_key",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants_app.apikey",
                    ),
                ),
                (
                    "budget",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="tenants_app.budget",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants_app.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-percent"),
                "permissions": (("send_alert_again", "Can send alerts again"),),
            },
        ),
        migrations.CreateModel(
            name="AlertDelivery",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "channel",
                    models.CharField(
                        choices=[("email", "e-mail"), ("webhook", "Webhook")], max_length=8
                    ),
                ),
                ("target", models.CharField(max_length=500, verbose_name="to")),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Pending"), ("sent", "Sent"), ("failed", "Failed")],
                        default="pending",
                        max_length=8,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "next_attempt_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("last_error", models.CharField(blank=True, default="", max_length=200)),
                ("sent_at", models.DateTimeField(null=True)),
                (
                    "alert",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="usage_app.alert",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "alert deliveries",
                "ordering": ("channel", "target"),
            },
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["-created_at", "-percent"], name="alert_newest"),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                fields=("budget", "metric", "period", "starts_at", "percent"),
                name="alert_is_one_per_window_and_percent",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(("told_percent__gte", models.F("percent"))),
                name="alert_is_told_by_no_lower_one",
            ),
        ),
        migrations.AddIndex(
            model_name="alertdelivery",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["next_attempt_at"],
                name="alert_delivery_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.UniqueConstraint(
                fields=("alert", "channel", "target"), name="alert_is_told_once_to_each"
            ),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("sent_at__isnull", False), ("state", "sent")),
                    models.Q(("sent_at__isnull", True), ("state__in", ["pending", "failed"])),
                    _connector="OR",
                ),
                name="alert_delivery_is_dated_when_sent",
            ),
        ),
    ]
