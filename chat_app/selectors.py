"""What pages ask of the chat's tables, on Django's connection."""

from django.db.models import QuerySet
from django.utils import timezone

from chat_app.models import OpenCircuit
from usage_app.ledger_sync import SILENCE
from usage_app.models import GatewayProcess


def open_circuits() -> QuerySet[OpenCircuit]:
    """The circuits that living processes hold open; what others knew has ended with them."""
    beating = GatewayProcess.objects.filter(heartbeat_at__gt=timezone.now() - SILENCE)
    return OpenCircuit.objects.filter(process_id__in=beating.values("id"))
