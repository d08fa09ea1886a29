"""Seals every provider token and signing secret anew with the first key of the ring."""

from typing import Any

import pghistory
from django.core.management.base import BaseCommand
from django.db import transaction

from tenants_app import sealed
from tenants_app.models import AlertTargets, Upstream


class Command(BaseCommand):
    help = "Re-encrypt provider tokens and signing secrets with the first key of TOLLGATE_KEY_RING."

    def handle(self, *args: Any, **options: Any) -> None:
        with pghistory.context(command="rotate_sealed", reason="a new key encrypts"):
            count = sum(map(_reseal_token, Upstream.objects.values_list("pk", flat=True)))
            count += sum(map(_reseal_secret, AlertTargets.objects.values_list("pk", flat=True)))
        self.stdout.write(f"{count} sealed anew; older keys may leave the ring.")


def _reseal_token(pk: int) -> bool:
    """One row at a time and under its lock: a token saved meanwhile must not be undone."""
    with transaction.atomic():
        upstream = Upstream.objects.select_for_update(of=("self",)).filter(pk=pk).first()
        token = upstream and upstream.sealed_token
        if not upstream or not token or sealed.is_current(token):
            return False
        upstream.seal_token(upstream.open_token())
        upstream.save(update_fields=["sealed_token", "updated_at"])
        return True


def _reseal_secret(pk: int) -> bool:
    with transaction.atomic():
        targets = AlertTargets.objects.select_for_update(of=("self",)).filter(pk=pk).first()
        secret = targets and targets.sealed_secret
        if not targets or not secret or sealed.is_current(secret):
            return False
        targets.seal_secret(targets.open_secret())
        targets.save(update_fields=["sealed_secret"])
        return True
