"""What sessions remember. A tenant that switched session memory off has no rows here."""

from django.db import models
from django.db.models import Q

from tenants_app.models import Tenant
from tenants_app.models.querysets import TenantOwned


class ChatMessage(models.Model):
    """One message. A session is the tenant's messages that share a session id."""

    class Role(models.TextChoices):
        USER = "user"
        ASSISTANT = "assistant"

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    session_id = models.UUIDField()
    role = models.CharField(max_length=9, choices=Role.choices)
    content = models.TextField()
    created_at = models.DateTimeField(db_default=models.functions.Now())

    objects = TenantOwned.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=["tenant", "session_id", "-id"], name="message_newest_of_session"),
            models.Index(fields=["tenant", "created_at"], name="message_oldest_of_tenant"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(role__in=["user", "assistant"]), name="message_role_is_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} in {self.session_id}"
