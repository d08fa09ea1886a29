"""What sessions remember, how upstreams fared, and which are left alone. A tenant that switched
session memory off has no messages here.
"""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from tenants_app.models import Tenant, Upstream
from tenants_app.models.querysets import TenantOwned


class ChatMessage(models.Model):
    """One message. A session is the tenant's messages that share a session id, in the order of
    (turn_id, id): a turn's place is when it arrived, not when it ended.
    """

    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    session_id = models.UUIDField()
    # The request's id, which sorts by time.
    turn_id = models.UUIDField()
    role = models.CharField(max_length=9, choices=Role.choices)
    content = models.TextField()
    created_at = models.DateTimeField(db_default=models.functions.Now())

    objects = TenantOwned.as_manager()

    class Meta:
        indexes = (
            models.Index(
                fields=["tenant", "session_id", "-turn_id", "-id"], name="message_newest_turn_first"
            ),
            models.Index(fields=["tenant", "created_at"], name="message_oldest_of_tenant"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(role__in=["user", "assistant"]), name="message_role_is_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} in {self.session_id}"


class ForgottenSession(models.Model):
    """A session that its owner deleted: turns up to this one are not to be seen, nor written by
    those that were under way. Kept until none of them can be.
    """

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    session_id = models.UUIDField()
    # The id of the request that deleted it.
    turn_id = models.UUIDField()
    forgotten_at = models.DateTimeField(db_default=models.functions.Now())

    objects = TenantOwned.as_manager()

    class Meta:
        indexes = (models.Index(fields=["forgotten_at"], name="forgotten_oldest_first"),)
        constraints = (
            models.UniqueConstraint(
                fields=["tenant", "session_id"], name="session_forgotten_once_per_tenant"
            ),
        )

    def __str__(self) -> str:
        return str(self.session_id)


class OpenCircuit(models.Model):
    """An upstream that a process leaves alone, for one tenant or for all; see circuits.py."""

    # It goes with its upstream, and nobody is asked or told.
    behind_the_scenes = True

    process_id = models.UUIDField()
    upstream = models.ForeignKey(
        Upstream, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, db_constraint=False, null=True, related_name="+"
    )
    failures = models.PositiveIntegerField(help_text="One after the other, without an answer.")
    outcome = models.CharField(max_length=20, help_text="Of the last failure.")
    opened_at = models.DateTimeField()
    retry_at = models.DateTimeField(help_text="From then on one request tries again.")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="circuit_once_per_process_upstream_and_tenant",
                fields=["process_id", "upstream", "tenant"],
                nulls_distinct=False,
            ),
        )

    def __str__(self) -> str:
        return f"{self.upstream} for {self.tenant or 'all tenants'}"

    @property
    def state(self) -> str:
        """`open`, or `half-open` once somebody may try."""
        return "open" if timezone.now() < self.retry_at else "half-open"


class UpstreamMinute(models.Model):
    """Calls to an upstream within one minute that ended alike, of all processes together; see
    upstream_minutes.py. For operators; the books are the ledger.
    """

    behind_the_scenes = True

    upstream = models.ForeignKey(
        Upstream, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    minute = models.DateTimeField(help_text="Its beginning, UTC.")
    outcome = models.CharField(max_length=20, help_text="An attempt's, or cut_off.")
    calls = models.PositiveIntegerField()
    latency_ms = models.PositiveBigIntegerField(help_text="Of all calls together.")
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP, of the last call.")
    message = models.TextField(blank=True, help_text="What the last failure said, redacted.")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="upstream_minute_once_per_outcome", fields=["upstream", "minute", "outcome"]
            ),
        )
        indexes = (models.Index(fields=["minute"], name="upstream_minutes_by_time"),)

    def __str__(self) -> str:
        return f"{self.upstream} {self.minute:%H:%M} {self.outcome}"
