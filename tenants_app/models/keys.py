"""API keys as rows; issuing, revoking and recognising them is `tenants_app.keys`."""

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.lookups import Exact
from django.utils import timezone

from tenants_app.key_format import DEFAULT_SCOPES
from tenants_app.models.one_line import one_line
from tenants_app.models.querysets import TenantOwned
from tenants_app.models.teams import Team
from tenants_app.models.tenants import Tenant


def default_scopes() -> list[str]:
    """What a key may do unless its issuer says otherwise."""
    return list(DEFAULT_SCOPES)


class ApiKey(models.Model):
    """A credential, known by its digest alone; `keys` issues, rotates and revokes.

    A tenant's playground has one that nobody can present: it only marks what staff tried.
    """

    class Kind(models.TextChoices):
        CLIENT = "client"
        PLAYGROUND = "playground"

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="keys")
    # Never changes, nor does a playground's digest.
    kind = models.CharField(
        max_length=16, choices=Kind, default=Kind.CLIENT, db_default=Kind.CLIENT, editable=False
    )
    # Never changes: see Team.
    team = models.ForeignKey(Team, models.RESTRICT, null=True, blank=True, related_name="keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    # Of the secret before a rotation, which works until then; a trigger lets it be none other.
    previous_digest = models.BinaryField(max_length=32, unique=True, null=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    # Of keys that one file had issued together: its look, which is thereby used up.
    batch = models.UUIDField(null=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=50), default=default_scopes)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantOwned.as_manager()

    class Meta:
        ordering = ["tenant", "name", "id"]
        verbose_name = "API key"
        indexes = [
            models.Index(name="key_batch", fields=["batch"], condition=Q(batch__isnull=False))
        ]
        constraints = [
            one_line("apikey", "name"),
            models.CheckConstraint(
                name="key_digest_is_a_sha256",
                condition=Exact(
                    Func(F("digest"), function="octet_length", output_field=models.IntegerField()),
                    32,
                ),
            ),
            models.CheckConstraint(
                name="key_overlap_has_a_secret_and_an_end",
                condition=Q(previous_digest=None, previous_until=None)
                | Q(previous_digest__isnull=False, previous_until__isnull=False),
            ),
            models.CheckConstraint(
                name="key_kind_is_known", condition=Q(kind__in=["client", "playground"])
            ),
            models.CheckConstraint(
                name="playground_key_opens_no_api",
                condition=~Q(kind="playground") | Q(scopes=[], expires_at=None),
            ),
            models.UniqueConstraint(
                name="playground_key_once_per_tenant",
                fields=["tenant"],
                condition=Q(kind="playground"),
            ),
            # What a budget's composite foreign key points at.
            models.UniqueConstraint(name="key_belongs_to_one_tenant", fields=["id", "tenant"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)" if self.prefix else self.name

    @property
    def is_playground(self) -> bool:
        """Whether it is the tenant's playground's, which no request can present."""
        return self.kind == self.Kind.PLAYGROUND

    @property
    def overlaps_until(self) -> datetime | None:
        """Until when the secret before the present one works; None if it does not."""
        now = timezone.now()
        if self.previous_until is None or not self.is_live(now):
            return None
        until = min(self.previous_until, self.expires_at or self.previous_until)
        return until if until > now else None

    def is_live(self, now: datetime | None = None) -> bool:
        """Neither revoked nor expired."""
        now = now or timezone.now()
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class ApiKeyUse(models.Model):
    """When a key was last used; written in batches, and no part of the configuration."""

    key = models.OneToOneField(ApiKey, models.CASCADE, primary_key=True, related_name="use")
    last_used_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.key_id} at {self.last_used_at:%Y-%m-%d %H:%M}"
