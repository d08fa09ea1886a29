"""What the commands over days of the books share: --tenant, --from and --to."""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import date
from typing import Any

from django.core.management.base import CommandError, CommandParser

from tenants_app.models import Tenant
from usage_app.figures import Span


def add_days(parser: CommandParser, *, required: bool = False) -> None:
    """The three arguments; without `required` a missing day means no bound."""
    parser.add_argument("--tenant", help="one tenant's slug; without it all")
    for name, about in (("from", "first"), ("to", "last")):
        parser.add_argument(
            f"--{name}",
            dest=about,
            type=_day,
            required=required,
            help=f"the {about} day, in each tenant's own calendar, as in 2026-03-14",
        )


def span_of(options: Mapping[str, Any]) -> Span | None:
    """The days that were asked for, or None for all of them."""
    first, last = options["first"], options["last"]
    if first is None and last is None:
        return None
    span = Span(first or date.min, last or date.max)
    if span.days < 1:
        raise CommandError("--from must not be after --to.")
    return span


def tenant_of(options: Mapping[str, Any]) -> Tenant | None:
    """The tenant that was asked for, or None for all."""
    if options["tenant"] is None:
        return None
    try:
        return Tenant.objects.get(slug=options["tenant"])
    except Tenant.DoesNotExist as error:
        raise CommandError(f"There is no tenant {options['tenant']!r}.") from error


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no day, as in 2026-03-14") from error
