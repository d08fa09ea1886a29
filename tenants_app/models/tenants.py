"""The tenant, its fallback chain and its hosts."""

from typing import TYPE_CHECKING
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from tenants_app.models.one_line import one_line
from tenants_app.models.querysets import TenantOwned

if TYPE_CHECKING:
    from tenants_app.models.catalogue import Model

SLUG_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
HOST_PATTERN = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"


def validate_timezone(name: str) -> None:
    """A name of the IANA database, as Python's tzdata has it."""
    if name not in available_timezones():
        raise ValidationError("This is not a time zone of the IANA database.")


class Tenant(models.Model):
    """Who is charged: a customer with its own models, keys and budgets."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"

    slug = models.CharField(max_length=63, unique=True, validators=[RegexValidator(SLUG_PATTERN)])
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=Status, default=Status.ACTIVE)
    timezone = models.CharField(max_length=64, default="UTC", validators=[validate_timezone])
    default_model = models.ForeignKey(
        "Model", models.RESTRICT, null=True, blank=True, related_name="default_of"
    )
    default_upstream = models.ForeignKey(
        "Upstream", models.RESTRICT, null=True, blank=True, related_name="default_of"
    )
    allow_list_enabled = models.BooleanField(default=False)
    allowed_models: "models.ManyToManyField[Model, models.Model]" = models.ManyToManyField(
        "Model", blank=True, related_name="allowed_for"
    )
    session_memory = models.BooleanField(default=True)
    session_retention_days = models.PositiveIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(3650)]
    )
    max_messages_per_session = models.PositiveIntegerField(
        default=200, validators=[MinValueValidator(2), MaxValueValidator(10_000)]
    )
    context_messages = models.PositiveIntegerField(
        default=20, validators=[MaxValueValidator(10_000)]
    )
    # Estimated tokens of earlier messages that a model is sent.
    context_tokens = models.PositiveIntegerField(
        default=8_000, validators=[MaxValueValidator(1_000_000)]
    )
    cost_center = models.CharField(max_length=100, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["slug"]
        permissions = [("try_models", "Can send messages at the tenant's charge: Try it")]
        constraints = [
            one_line("tenant", "name"),
            one_line("tenant", "cost_center"),
            models.CheckConstraint(
                name="tenant_slug_is_plain", condition=Q(slug__regex=SLUG_PATTERN)
            ),
            models.CheckConstraint(
                name="tenant_status_is_known", condition=Q(status__in=["active", "suspended"])
            ),
            models.CheckConstraint(
                name="tenant_session_limits_are_sensible",
                condition=Q(
                    session_retention_days__range=(1, 3650),
                    max_messages_per_session__range=(2, 10_000),
                    context_messages__lte=10_000,
                ),
            ),
            models.CheckConstraint(
                name="tenant_context_tokens_are_sensible",
                condition=Q(context_tokens__lte=1_000_000),
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    def clean(self) -> None:
        upstream = self.default_upstream
        if upstream and upstream.tenant_id not in (None, self.pk):
            raise ValidationError({"default_upstream": "This upstream is another tenant's."})


class TenantFallback(models.Model):
    """One model of a tenant's fallback chain, tried in the order of `position`."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="fallbacks")
    model = models.ForeignKey("Model", models.RESTRICT, related_name="fallback_of")
    position = models.PositiveSmallIntegerField(default=0)

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ["tenant", "position"]
        constraints = [
            models.UniqueConstraint(
                name="fallback_model_once_per_tenant", fields=["tenant", "model"]
            ),
            # Deferred, so that a form may swap two of them.
            models.UniqueConstraint(
                name="fallback_position_once_per_tenant",
                fields=["tenant", "position"],
                deferrable=models.Deferrable.DEFERRED,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant} #{self.position}: {self.model}"


class TenantHost(models.Model):
    """A host name by which a trusted edge reaches this tenant alone."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="hosts")
    host = models.CharField(max_length=253, unique=True, validators=[RegexValidator(HOST_PATTERN)])

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ["host"]
        constraints = [
            models.CheckConstraint(
                name="host_is_a_lower_case_name", condition=Q(host__regex=HOST_PATTERN)
            )
        ]

    def __str__(self) -> str:
        return self.host
