"""What is remembered of logins: who has tried too often. `throttle` writes it."""

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
