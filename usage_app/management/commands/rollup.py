"""Makes roll-ups anew from the command line, day by day; `rollups` does it."""

import sys
from collections.abc import Iterator
from datetime import date, timedelta
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
        groups = sorted(
            ((day, one.slug, one.pk) for one in tenants for day in _days(one, span)),
        )
        progress = Progress(sys.stderr, len(groups))
        at = groups[0][0] if groups else date.min
        try:
            for at, slug, tenant_id in groups:
                rollups.roll_up(tenant_id, at)
                progress.step(f"{at} {slug}")
        except KeyboardInterrupt as stopped:
            progress.close()
            raise CommandError(
                f"Stopped after {progress.done} of {len(groups)} days of tenants, which are done."
                f" The rest: --from {at}",
                returncode=130,
            ) from stopped
        progress.close()
        self.stdout.write(f"rolled up {len(groups)} days of {len(tenants)} tenants")


def _days(tenant: Tenant, span: Span | None) -> Iterator[date]:
    found = extent.within(tenant, span)
    for later in range(found.days if found else 0):
        yield found.first + timedelta(days=later)  # type: ignore[union-attr]
