"""Compares the books from the command line; `reconciliation` does it, this tells of it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants_app.models import Tenant
from usage_app import reconciliation
from usage_app.management.days import add_days, span_of, tenant_of
from usage_app.models import Drift

MOST_LINES = 20


class Command(BaseCommand):
    help = (
        "Compare ledger entries, roll-ups, windows and open holds with one another, per tenant and"
        " day. Exits with 1 if anything differs. The admin keeps every run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_days(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        span, tenant = span_of(options), tenant_of(options)
        found = reconciliation.run(
            author="manage.py reconcile",
            tenants=None if tenant is None else [tenant],
            span=span,
            on_tenant=self._tell,
        )
        self.stdout.write(
            f"compared {_some(found.tenants, 'tenant')}: {found.entries} entries,"
            f" {found.rollups} roll-up rows ({found.pending} of them not rolled up yet),"
            f" {found.windows} windows, {found.holds} windows with their holds: {found.result}"
        )
        if found.drifts:
            raise CommandError(f"The books differ: {found.result}, kept as run {found.pk}.")

    def _tell(self, tenant: Tenant, drifts: list[Drift]) -> None:
        for row in drifts[:MOST_LINES]:
            key = f" key {row.api_key_id}" if row.api_key_id else ""
            key = f" team {row.team_id}" if row.team_id else key
            self.stdout.write(
                f"{tenant.slug}{key} {row}: expected {row.expected.normalize():f},"
                f" found {row.found.normalize():f} ({row.size.normalize():+f})"
            )
        if len(drifts) > MOST_LINES:
            self.stdout.write(f"{tenant.slug}: and {len(drifts) - MOST_LINES} more")


def _some(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
