"""What can be asked and who answers: upstreams, models and the routes between them."""

import uuid
from decimal import Decimal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from tenants_app import networks, sealed
from tenants_app.models.one_line import one_line
from tenants_app.models.querysets import TenantOwned
from tenants_app.models.tenants import Tenant

# Higher bounds than anyone needs keep sums far from the ends of bigint and of a JSON number.
TOKENS_MAX = 100_000_000
TIMEOUT_MAX_MS = 24 * 3600 * 1000
# Both become parts of a URL: no dot, slash or percent sign among them.
ACCOUNT_ID = r"^[A-Za-z0-9_-]{1,100}$"
GATEWAY_ID = r"^[A-Za-z0-9_-]{1,64}$"
# What decides where a token is sent: a trigger refuses to change them under the same token.
DESTINATION = ("kind", "base_url", "account_id", "gateway_id")


def validate_base_url(url: str) -> None:
    """An address that an upstream may have (networks), judged again at connect."""
    allowed = networks.parse_networks(settings.UPSTREAM_ALLOWED_NETWORKS)
    if problem := networks.url_problem(url, allowed):
        raise ValidationError(problem)


class Upstream(models.Model):
    """A server that answers for models, with the token that it wants."""

    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI-compatible"
        CLOUDFLARE = "cloudflare", "Cloudflare AI Gateway"
        DEMO = "demo", "Demo (in process)"

    class Form(models.TextChoices):
        REST = "rest", "REST API"
        COMPAT = "compat", "Unified (compat)"
        WORKERS_AI = "workers-ai", "Workers AI"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    tenant = models.ForeignKey(
        Tenant, models.CASCADE, null=True, blank=True, related_name="upstreams"
    )
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=16, choices=Kind)
    base_url = models.CharField(
        max_length=500, blank=True, default="", validators=[validate_base_url]
    )
    form = models.CharField(max_length=16, choices=Form, blank=True, default="")
    account_id = models.CharField(max_length=100, blank=True, default="")
    gateway_id = models.CharField(max_length=100, blank=True, default="")
    sealed_token = sealed.SealedField(null=True, blank=True)
    # A trigger keeps it, so that the audit trail notes a change that it must not show.
    token_changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    connect_timeout_ms = models.PositiveIntegerField(default=5_000)
    first_byte_timeout_ms = models.PositiveIntegerField(default=60_000)
    idle_timeout_ms = models.PositiveIntegerField(default=60_000)
    total_timeout_ms = models.PositiveIntegerField(default=900_000)
    is_default = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            one_line("upstream", "name"),
            models.UniqueConstraint(
                name="upstream_name_once_per_tenant",
                fields=["tenant", "name"],
                nulls_distinct=False,
            ),
            models.UniqueConstraint(
                name="upstream_default_is_only_one",
                fields=["is_default"],
                condition=Q(is_default=True),
            ),
            models.CheckConstraint(
                name="upstream_default_is_shared",
                condition=Q(is_default=False) | Q(tenant__isnull=True),
            ),
            models.CheckConstraint(
                name="upstream_has_a_base_url",
                condition=Q(kind__in=("cloudflare", "demo")) | ~Q(base_url=""),
            ),
            models.CheckConstraint(
                name="upstream_of_cloudflare_has_a_form",
                condition=Q(kind="cloudflare", form__in=("rest", "compat", "workers-ai"))
                | (~Q(kind="cloudflare") & Q(form="")),
            ),
            models.CheckConstraint(
                name="upstream_of_cloudflare_names_its_gateway",
                condition=~Q(kind="cloudflare")
                | Q(account_id__regex=ACCOUNT_ID, gateway_id__regex=GATEWAY_ID),
            ),
            models.CheckConstraint(
                name="upstream_timeouts_are_sensible",
                condition=Q(
                    connect_timeout_ms__range=(1, TIMEOUT_MAX_MS),
                    first_byte_timeout_ms__range=(1, TIMEOUT_MAX_MS),
                    idle_timeout_ms__range=(1, TIMEOUT_MAX_MS),
                    total_timeout_ms__range=(1, TIMEOUT_MAX_MS),
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def destination(self) -> str:
        """Where its token is sent, in words."""
        ids = (("account", self.account_id), ("gateway", self.gateway_id))
        named = [f"{noun} {value}" for noun, value in ids if value]
        return ", ".join([self.base_url or self.get_kind_display(), *named])

    def seal_token(self, text: str) -> None:
        """Set the token, or with "" none; the caller saves."""
        self.sealed_token = sealed.seal(text, context=token_context(self.uuid)) if text else None

    def open_token(self) -> str:
        """The token in plain text, "" without one. Raises sealed.CannotOpen."""
        return open_token(self.sealed_token, self.uuid)


def token_context(upstream_uuid: uuid.UUID) -> str:
    """What binds a sealed token to its row."""
    return f"tenants_app_upstream.sealed_token:{upstream_uuid}"


def open_token(token: sealed.Sealed | None, upstream_uuid: uuid.UUID) -> str:
    """The plain token of an upstream, "" without one. Raises sealed.CannotOpen."""
    return sealed.open_sealed(token, context=token_context(upstream_uuid)) if token else ""


class Model(models.Model):
    """A language model, by the name that clients use."""

    public_id = models.CharField(max_length=200, unique=True)
    name = models.CharField(max_length=200, blank=True, default="")
    default_output = models.PositiveIntegerField(default=1024)
    max_output = models.PositiveIntegerField(default=8192)
    context_window = models.PositiveIntegerField(null=True, blank=True)
    hold_bytes_per_token = models.DecimalField(max_digits=6, decimal_places=3, default=Decimal(1))
    template_tokens = models.PositiveIntegerField(default=0)
    image_tokens = models.PositiveIntegerField(default=0)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["public_id"]
        constraints = [
            one_line("model", "public_id"),
            one_line("model", "name"),
            models.CheckConstraint(name="model_id_not_empty", condition=~Q(public_id="")),
            models.CheckConstraint(
                name="model_outputs_are_ordered",
                condition=Q(
                    default_output__gte=1,
                    max_output__gte=F("default_output"),
                    max_output__lte=TOKENS_MAX,
                ),
            ),
            models.CheckConstraint(
                name="model_sizes_are_sensible",
                condition=Q(
                    hold_bytes_per_token__gt=0,
                    template_tokens__lte=TOKENS_MAX,
                    image_tokens__lte=TOKENS_MAX,
                )
                & (Q(context_window=None) | Q(context_window__range=(1, TOKENS_MAX))),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class Route(models.Model):
    """Which upstream answers for a model; a tenant's own routes hide the shared ones."""

    model = models.ForeignKey(Model, models.CASCADE, related_name="routes")
    upstream = models.ForeignKey(Upstream, models.CASCADE, related_name="routes")
    upstream_model = models.CharField(max_length=200, blank=True, default="")
    tenant = models.ForeignKey(Tenant, models.CASCADE, null=True, blank=True, related_name="routes")
    priority = models.IntegerField(default=100)

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ["model", "priority", "id"]
        constraints = [
            one_line("route", "upstream_model"),
            models.UniqueConstraint(
                name="route_once_per_model_upstream_and_tenant",
                fields=["model", "upstream", "tenant"],
                nulls_distinct=False,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} → {self.upstream}"

    def clean(self) -> None:
        # A form without one asks, too.
        upstream = self.upstream if self.upstream_id else None
        if upstream and upstream.tenant_id not in (None, self.tenant_id):
            raise ValidationError({"upstream": "This upstream is another tenant's."})
