"""What is remembered of logins: who has tried too often, and whom a provider of OIDC has named.

`throttle` and `accounts` write it.
"""

from django.conf import settings
from django.db import models


class LoginThrottle(models.Model):
    """The tries that an account, an address or a known browser has used up, as an instant."""

    KINDS = {"account": "account", "address": "address", "browser": "known browser"}

    kind = models.CharField(max_length=10, choices=KINDS)
    subject = models.CharField(max_length=200, editable=False)
    full_again_at = models.DateTimeField(
        help_text="When all tries are there again; the row is then forgotten."
    )

    class Meta:
        ordering = ["-full_again_at", "id"]
        verbose_name = "login throttle"
        constraints = [
            models.CheckConstraint(
                name="login_throttle_kind_is_known",
                condition=models.Q(kind__in=["account", "address", "browser"]),
            ),
            models.UniqueConstraint(name="login_throttle_once", fields=["kind", "subject"]),
        ]
        indexes = [models.Index(name="login_throttle_by_end", fields=["full_again_at"])]

    def __str__(self) -> str:
        return f"{self.KINDS.get(self.kind, self.kind)} {self.subject}"


class OidcIdentity(models.Model):
    """Whom an issuer calls by this subject: what an account of OIDC is found by."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="oidc_identities"
    )
    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["issuer", "subject"]
        verbose_name = "OIDC identity"
        verbose_name_plural = "OIDC identities"
        constraints = [
            models.UniqueConstraint(
                name="oidc_subject_is_one_account", fields=["issuer", "subject"]
            ),
            models.CheckConstraint(
                name="oidc_identity_names_somebody",
                condition=~models.Q(issuer="") & ~models.Q(subject=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"
