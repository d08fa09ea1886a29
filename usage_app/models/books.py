"""Windows, holds and the ledger. Only `usage_app.ledger` and `usage_app.ledger_sync` write these
tables.
"""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q

from tenants_app.models import ApiKey, Team, Tenant
from tenants_app.models.querysets import TenantOwned
from usage_app.models.fields import MONEY


class UsageWindow(models.Model):
    """What one scope (a tenant, or one of its teams or keys) used and holds in one period.

    A day or month counts `used` and `held`; the one row of period `concurrent` counts holds only.
    """

    class Period(models.TextChoices):
        DAY = "day"
        MONTH = "month"
        CONCURRENT = "concurrent"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="+")
    team = models.ForeignKey(
        Team, null=True, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    period = models.CharField(max_length=10, choices=Period.choices)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    requests = models.BigIntegerField(db_default=0)
    tokens = models.BigIntegerField(db_default=0)
    cost = models.DecimalField(**MONEY, db_default=0)
    held_requests = models.BigIntegerField(db_default=0)
    held_tokens = models.BigIntegerField(db_default=0)
    held_cost = models.DecimalField(**MONEY, db_default=0)

    objects = TenantOwned.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "api_key", "team", "period", "starts_at"],
                nulls_distinct=False,
                name="window_is_one_per_scope_and_period",
            ),
            models.CheckConstraint(
                condition=Q(team=None) | Q(api_key=None), name="window_is_of_a_team_or_of_a_key"
            ),
            models.CheckConstraint(
                condition=Q(requests__gte=0, tokens__gte=0, cost__gte=0),
                name="window_used_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(held_requests__gte=0, held_tokens__gte=0, held_cost__gte=0),
                name="window_held_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(starts_at__lt=F("ends_at")), name="window_ends_after_it_starts"
            ),
        )

    def __str__(self) -> str:
        return f"{self.period} from {self.starts_at:%Y-%m-%d}"


class RateBucket(models.Model):
    """The token bucket behind a per-minute budget: `level_micro` millionths of a request or token,
    as of `refilled_at`.

    The level is refilled, and clamped to the budget's burst, when it is next read by an admission.
    """

    class Metric(models.TextChoices):
        REQUESTS = "requests"
        TOKENS = "tokens"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="+")
    team = models.ForeignKey(
        Team, null=True, on_delete=models.PROTECT, db_index=False, related_name="+"
    )
    metric = models.CharField(max_length=8, choices=Metric.choices)
    level_micro = models.BigIntegerField()
    refilled_at = models.DateTimeField()

    objects = TenantOwned.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "api_key", "team", "metric"],
                nulls_distinct=False,
                name="bucket_is_one_per_scope_and_metric",
            ),
            models.CheckConstraint(
                condition=Q(team=None) | Q(api_key=None), name="bucket_is_of_a_team_or_of_a_key"
            ),
        )

    def __str__(self) -> str:
        return f"{self.metric} per minute"


class GatewayProcess(models.Model):
    """A web process that holds budgets; while its heart beats, its holds are not swept."""

    id = models.UUIDField(primary_key=True)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "gateway processes"

    def __str__(self) -> str:
        return f"{self.host} #{self.pid}"


class Charge(models.Model):
    """What a hold and the entry it ends in share: who asked, for what, on whose account."""

    id = models.UUIDField(primary_key=True)
    created_at = models.DateTimeField(help_text="When the request was admitted.")
    local_day = models.DateField(help_text="The tenant's calendar day of the admission.")
    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    api_key = models.ForeignKey(
        ApiKey,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    trace_id = models.CharField(max_length=128)
    cost_center = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=200)
    model_reason = models.CharField(max_length=10)
    upstream = models.CharField(max_length=100)
    price = models.ForeignKey(
        "usage_app.Price",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    stream = models.BooleanField()
    user_hash = models.CharField(max_length=64, blank=True)
    metadata = models.JSONField(default=dict)
    held_tokens = models.BigIntegerField()

    objects = TenantOwned.as_manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.id)


class Reservation(Charge):
    """A durable hold on every window that applies to one admitted request, until it ends in exactly
    one entry.
    """

    process_id = models.UUIDField(
        null=True, help_text="Empty: nobody will settle it but the sweep."
    )
    window_ids = ArrayField(models.BigIntegerField())
    bucket_ids = ArrayField(models.BigIntegerField(), help_text="Token buckets to refund.")
    held_input_tokens = models.BigIntegerField()
    held_cost = models.DecimalField(**MONEY)
    estimated_input_tokens = models.BigIntegerField()
    streamed_output_tokens = models.BigIntegerField(
        null=True, help_text="Relayed so far, by the last heartbeat; empty before the first byte."
    )

    class Meta:
        indexes = (models.Index(fields=["process_id"], name="reservation_process"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(held_tokens__gte=0, held_input_tokens__gte=0, held_cost__gte=0),
                name="reservation_holds_not_negative",
            ),
        )


class LedgerEntry(Charge):
    """One immutable fact: what a request was charged, or a later fact about it. Refused by
    triggers: UPDATE, DELETE, TRUNCATE.

    The table is partitioned by month of `created_at`; its key in the database is (id, created_at).
    """

    class Kind(models.TextChoices):
        USAGE = "usage"
        ADJUSTMENT = "adjustment"
        CORRECTION = "correction"
        CREDIT = "credit"

    class Outcome(models.TextChoices):
        OK = "ok"
        ERROR = "error"
        ABORTED = "aborted"
        EXPIRED = "expired"

    class UsageSource(models.TextChoices):
        PROVIDER = "provider"
        ESTIMATED = "estimated"
        PARTIAL = "partial"
        EXPIRED = "expired"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    corrects = models.UUIDField(null=True, blank=True, help_text="The request this entry is about.")
    reason = models.CharField(max_length=500, blank=True)
    author = models.CharField(max_length=150, blank=True)
    attempts = models.JSONField(default=list)
    input_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    total_tokens = models.BigIntegerField()
    overrun_tokens = models.BigIntegerField(help_text="Tokens used beyond what was held.")
    cost = models.DecimalField(**MONEY, null=True, help_text="Empty: no price was known.")
    credit = models.DecimalField(
        **MONEY,
        null=True,
        blank=True,
        help_text="Money alone, added to the tenant's price as it is; negative in its favour.",
    )
    usage_source = models.CharField(max_length=10, choices=UsageSource.choices)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    error_code = models.CharField(max_length=40, blank=True)
    ttft_ms = models.IntegerField(null=True)
    latency_ms = models.IntegerField()
    upstream_reference = models.CharField(max_length=200, blank=True)
    settled_at = models.DateTimeField(db_default=models.functions.Now())

    class Meta:
        verbose_name_plural = "ledger entries"
        permissions = (("correct_ledger", "Can correct the ledger, give credits and re-price"),)
        # These name what the hand-written table has; see migration 0002.
        indexes = (
            models.Index(fields=["tenant", "local_day"], name="entry_tenant_day"),
            models.Index(fields=["tenant", "-created_at"], name="entry_tenant_newest"),
            models.Index(fields=["-created_at", "id"], name="entry_newest"),
            models.Index(
                fields=["-created_at", "id"], condition=~Q(outcome="ok"), name="entry_not_ok"
            ),
            models.Index(fields=["trace_id"], name="entry_trace"),
            BrinIndex(fields=["settled_at"], autosummarize=True, name="entry_settled"),
            # Reports lead to days of all tenants; entries arrive nearly in the order of their days.
            BrinIndex(fields=["local_day"], autosummarize=True, name="entry_local_day"),
            models.Index(
                fields=["corrects"], condition=Q(corrects__isnull=False), name="entry_corrects"
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=~Q(kind="usage")
                | Q(
                    input_tokens__gte=0,
                    cached_tokens__gte=0,
                    cache_write_tokens__gte=0,
                    output_tokens__gte=0,
                    reasoning_tokens__gte=0,
                ),
                name="entry_tokens_not_negative",
            ),
            models.CheckConstraint(
                condition=~Q(kind="usage") | Q(cost__isnull=True) | Q(cost__gte=0),
                name="entry_cost_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(total_tokens=F("input_tokens") + F("output_tokens")),
                name="entry_total_is_input_plus_output",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["usage", "credit"], corrects__isnull=True)
                | Q(kind__in=["adjustment", "correction"], corrects__isnull=False),
                name="entry_names_what_it_corrects",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["usage", "adjustment"]) | (~Q(reason="") & ~Q(author="")),
                name="correction_has_reason_and_author",
            ),
            models.CheckConstraint(
                condition=(~Q(kind="credit") & Q(credit__isnull=True))
                | Q(
                    kind="credit",
                    credit__isnull=False,
                    cost=0,
                    input_tokens=0,
                    cached_tokens=0,
                    cache_write_tokens=0,
                    output_tokens=0,
                    reasoning_tokens=0,
                ),
                name="credit_is_money_alone",
            ),
        )
