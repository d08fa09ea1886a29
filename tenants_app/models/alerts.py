"""Where a tenant's alerts go; what is told, and when, is for usage_app/alerts."""

import base64
import binascii
import uuid
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from tenants_app import sealed
from tenants_app.models.catalogue import validate_base_url
from tenants_app.models.querysets import TenantOwned
from tenants_app.models.tenants import Tenant

MOST_EMAILS: Final = 20
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what a secret begins with
# What https://www.standardwebhooks.com asks of a symmetric key.
SECRET_BYTES: Final = range(24, 65)


def signing_key(secret: str) -> bytes:
    """The bytes of a webhook's signing secret. Raises ValidationError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise ValidationError("A signing secret is whsec_ and base64 of 24 to 64 random bytes.")
    return key


class AlertTargets(models.Model):
    """Where a tenant's alerts go: e-mail addresses, and a webhook with the secret that signs it."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    tenant = models.OneToOneField(Tenant, models.CASCADE, related_name="alert_targets")
    emails = ArrayField(models.EmailField(), size=MOST_EMAILS, default=list, blank=True)
    webhook_url = models.CharField(
        "webhook URL", max_length=500, blank=True, default="", validators=[validate_base_url]
    )
    sealed_secret = sealed.SealedField(null=True, blank=True)
    # A trigger keeps it, so that the audit trail notes a change that it must not show.
    secret_changed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantOwned.as_manager()

    class Meta:
        verbose_name = verbose_name_plural = "alert targets"
        constraints = [
            models.CheckConstraint(
                name="alert_emails_are_few", condition=Q(emails__len__lte=MOST_EMAILS)
            ),
        ]

    def __str__(self) -> str:
        return f"alerts of {self.tenant}"

    def seal_secret(self, text: str) -> None:
        """Set the signing secret, or with "" none; the caller saves."""
        self.sealed_secret = sealed.seal(text, context=self._context) if text else None

    def open_secret(self) -> str:
        """The signing secret in plain text, "" without one. Raises sealed.CannotOpen."""
        secret = self.sealed_secret
        return sealed.open_sealed(secret, context=self._context) if secret else ""

    @property
    def _context(self) -> str:
        """What binds a sealed secret to its row."""
        return f"tenants_app_alerttargets.sealed_secret:{self.uuid}"
