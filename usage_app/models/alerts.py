"""Alerts: which share of a budget was crossed in which window, and to whom that was told."""

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from tenants_app.models import ApiKey, Budget, Team, Tenant
from tenants_app.models.querysets import TenantOwned
from usage_app.models.fields import MONEY


class Alert(models.Model):
    """A percentage of a budget that was used in one of its windows: one row, whoever saw it first.

    It keeps what it was about, since the budget may be changed or deleted. `told_percent` is the
    highest that was crossed with it: that one's message stands for all of them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="+")
    team = models.ForeignKey(Team, null=True, on_delete=models.PROTECT, related_name="+")
    budget = models.ForeignKey(Budget, null=True, on_delete=models.SET_NULL, related_name="+")
    metric = models.CharField(max_length=16)
    period = models.CharField(max_length=16)
    starts_at = models.DateTimeField(help_text="When the window began.")
    ends_at = models.DateTimeField(help_text="When the budget is whole again.")
    percent = models.PositiveSmallIntegerField()
    told_percent = models.PositiveSmallIntegerField()
    used = models.DecimalField(**MONEY)
    limit = models.DecimalField(**MONEY)
    created_at = models.DateTimeField(db_default=Now())

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ("-created_at", "-percent")
        permissions = (("send_alert_again", "Can send alerts again"),)
        indexes = (models.Index(fields=["-created_at", "-percent"], name="alert_newest"),)
        constraints = (
            models.UniqueConstraint(
                fields=["budget", "metric", "period", "starts_at", "percent"],
                name="alert_is_one_per_window_and_percent",
            ),
            models.CheckConstraint(
                condition=Q(told_percent__gte=models.F("percent")),
                name="alert_is_told_by_no_lower_one",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tenant.slug}: {self.percent} % of {self.metric} per {self.period}"


class AlertDelivery(models.Model):
    """One message of an alert to one address, sent at least once or given up."""

    class Channel(models.TextChoices):
        EMAIL = "email", "e-mail"
        WEBHOOK = "webhook"

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=8, choices=Channel.choices)
    target = models.CharField("to", max_length=500)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    last_error = models.CharField(max_length=200, blank=True, default="")
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("channel", "target")
        verbose_name_plural = "alert deliveries"
        indexes = (
            models.Index(
                fields=["next_attempt_at"], condition=Q(state="pending"), name="alert_delivery_due"
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["alert", "channel", "target"], name="alert_is_told_once_to_each"
            ),
            models.CheckConstraint(
                condition=Q(state="sent", sent_at__isnull=False)
                | Q(state__in=["pending", "failed"], sent_at__isnull=True),
                name="alert_delivery_is_dated_when_sent",
            ),
        )

    def __str__(self) -> str:
        return f"{self.channel} to {self.target}"
