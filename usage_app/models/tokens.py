"""Credentials of finance's tools; issuing, revoking and recognising them is
`usage_app.reports.staff_tokens`.
"""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.lookups import Exact

REPORTS_READ = "reports:read"


def default_scopes() -> list[str]:
    """What a token may do: so far there is one thing."""
    return [REPORTS_READ]


class StaffToken(models.Model):
    """A credential of a member of staff for a tool, known by its digest alone. It is worth what its
    owner is: nothing any more when that account is closed.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=50), default=default_scopes)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")
        constraints = (
            models.CheckConstraint(
                name="staff_token_digest_is_a_sha256",
                condition=Exact(
                    Func(F("digest"), function="octet_length", output_field=models.IntegerField()),
                    32,
                ),
            ),
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(revoked_at__isnull=True),
                name="staff_token_name_is_one_among_the_live",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
