"""The ways an alert is sent: by mail, and as a signed webhook. It knows nothing of retries."""

import base64
import hashlib
import hmac
import smtplib
import time
from typing import Any, Final

from django.conf import settings
from django.core import mail
from django.core.exceptions import ValidationError

from tenants_app.models import AlertTargets
from tenants_app.models.alerts import signing_key
from tenants_app.networks import parse_networks
from tenants_app.sealed import CannotOpen
from usage_app.alerts import wire, words
from usage_app.models import Alert, AlertDelivery

WEBHOOK_SECONDS: Final = 10
GONE: Final = 410


class NotSent(Exception):
    """It was not sent, or nobody knows; why, in words without secrets."""

    def __init__(self, why: str, *, for_good: bool = False) -> None:
        super().__init__(why)
        self.for_good = for_good


def send(delivery: AlertDelivery) -> None:
    """Send it to where it goes, if the tenant still wants it there. Raises NotSent."""
    alert = delivery.alert
    targets = AlertTargets.objects.for_tenant(alert.tenant).first()
    if delivery.channel == AlertDelivery.Channel.EMAIL:
        if targets is None or delivery.target not in targets.emails:
            raise NotSent("the tenant's alerts do not go there any more", for_good=True)
        _mail(alert, delivery)
    else:
        if targets is None or delivery.target != targets.webhook_url:
            raise NotSent("the tenant's alerts do not go there any more", for_good=True)
        _call(alert, targets)


def headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What a receiver verifies the body with: https://www.standardwebhooks.com, symmetric."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "tollgate",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def _mail(alert: Alert, delivery: AlertDelivery) -> None:
    if not settings.EMAIL_URL:
        raise NotSent("no mail server is set: EMAIL_URL")
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip("> ")
    message = mail.EmailMessage(
        words.subject(alert),
        words.text(alert),
        to=[delivery.target],
        # Of the same delivery always the same, so that mail readers show one that came twice once.
        headers={"Message-ID": f"<{delivery.pk}@{domain}>", "Auto-Submitted": "auto-generated"},
    )
    try:
        message.send()
    except smtplib.SMTPResponseException as error:
        raise NotSent(f"the mail server answered {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes: Any = sorted({code for code, _ in error.recipients.values()})
        raise NotSent(f"the mail server refused the address: {codes[0]}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise NotSent(f"the mail server failed: {type(error).__name__}") from None


def _call(alert: Alert, targets: AlertTargets) -> None:
    try:
        key = signing_key(targets.open_secret())
    except (CannotOpen, ValidationError):
        raise NotSent("the webhook has no signing secret that can be used") from None
    body = words.payload(alert)
    try:
        status = wire.post(
            targets.webhook_url,
            # The alert's, however often it is sent: receivers tell repetitions by it.
            headers(key, f"alert_{alert.pk}", int(time.time()), body),
            body,
            allowed=parse_networks(settings.UPSTREAM_ALLOWED_NETWORKS),
            seconds=WEBHOOK_SECONDS,
        )
    except wire.Unanswered as error:
        raise NotSent(str(error), for_good=isinstance(error, wire.Barred)) from None
    if not 200 <= status < 300:
        raise NotSent(f"it answered {status}", for_good=status == GONE)
