"""Makes roll-ups anew from the command line, day by day; `rollups` does it."""

import sys
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants_app.models import Tenant
from usage_app import extent, rollups
from usage_app.figures import Span
from usage_app.management.days import add_days, span_of, tenant_of
from usage_app.management.progress import Progress


class Command(BaseCommand):
    help = (
        "Make the roll-ups of these days anew from the ledger. It may run at any time, beside the"
        " periodic task and itself, be stopped at any point, and go on with the day it came to."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_days(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        span, tenant = span_of(options), tenant_of(options)
        tenants = [tenant] if tenant else list(Tenant.objects.order_by("slug"))
        slices = sorted(
            ((one, owner.slug) for owner in tenants for one in _slices(owner, span)),
            key=lambda pair: (pair[0].first, pair[1]),
        )
        total = sum(one.days for one, _ in slices)
        progress = Progress(sys.stderr, total)
        at = date.min
        try:
            for one, slug in slices:
                at = one.first
                rollups.roll_up(one.tenant_id, one.first, one.last)
                progress.step(f"{one.last} {slug}", one.days)
        except KeyboardInterrupt as stopped:
            progress.close()
            raise CommandError(
                f"Stopped after {progress.done} of {total} days of tenants, which are done."
                f" The rest: --from {at}",
                returncode=130,
            ) from stopped
        progress.close()
        self.stdout.write(f"rolled up {total} days of {len(tenants)} tenants")


def _slices(tenant: Tenant, span: Span | None) -> list[rollups.Slice]:
    found = extent.within(tenant, span)
    return rollups.slices_within(tenant, found) if found else []
