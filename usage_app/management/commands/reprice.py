"""Re-prices requests; `repricing` does it, this tells of it."""

import getpass
from datetime import date
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants_app.models import Model, Tenant
from usage_app.amounts import money
from usage_app.corrections import CorrectionRefused, Why
from usage_app.figures import Span
from usage_app.prices import repricing
from usage_app.prices.files import shown
from usage_app.prices.repricing import Difference, Scope

LEFT_ALONE = {"by hand": "somebody gave their cost", "no price": "the book has no price for them"}


class Command(BaseCommand):
    help = (
        "Charge requests at the prices that the book has now for when they were made, by a"
        " correction for each that differs. Prints the difference. Run it with --dry-run first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="a slug; without one, all tenants")
        parser.add_argument("--model", help="a public id; without one, all models")
        for name, text in (("from", "first"), ("to", "last")):
            parser.add_argument(
                f"--{name}",
                dest=text,
                required=True,
                type=date.fromisoformat,
                help=f"the {text} day, in the tenants' time zones, as 2026-03-01",
            )
        parser.add_argument("--reason", default="", help="why; it is on every correction")
        parser.add_argument("--author", default="", help="who; by default the account's name")
        parser.add_argument(
            "--dry-run", action="store_true", help="tell the difference, and change nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        scope = _scope(options)
        if options["dry_run"]:
            found = repricing.differences(scope)
        else:
            try:
                author = options["author"] or getpass.getuser()
                found = repricing.reprice(scope, Why(options["reason"], author))
            except CorrectionRefused as refusal:
                raise CommandError(f"{refusal} Nothing was written: give --reason.") from refusal
        for one in found:
            self.stdout.write(_line(one))
        differing = [one for one in found if one.state == "differs"]
        requests = sum(one.requests for one in differing)
        before = sum((one.before for one in differing), Decimal(0))
        after = sum((one.after for one in differing), Decimal(0))
        written = "; a dry run, so nothing was written" if options["dry_run"] else ""
        verb = "differs" if requests == 1 else "differ"
        self.stdout.write(f"{_count(requests)} {verb}: {_arrow(before, after)}{written}")


def _scope(options: dict[str, Any]) -> Scope:
    slug, model = options["tenant"], options["model"]
    tenant = Tenant.objects.filter(slug=slug).first() if slug else None
    if slug and tenant is None:
        raise CommandError(f"There is no tenant {slug!r}.")
    if model and not Model.objects.filter(public_id=model).exists():
        raise CommandError(f"There is no model {model!r}.")
    if options["first"] > options["last"]:
        raise CommandError("--from is after --to.")
    return Scope(Span(options["first"], options["last"]), tenant, model)


def _line(one: Difference) -> str:
    what = f"{one.tenant} {one.model}: {_count(one.requests)}"
    if one.state != "differs":
        return f"{what} left alone: {LEFT_ALONE[one.state]}"
    old = "no price" if one.old_price is None else f"price from {shown(one.old_price.valid_from)}"
    new = "" if one.price is None else f"price from {shown(one.price.valid_from)}"
    return f"{what}, {old} → {new}: {_arrow(one.before, one.after)}"


def _count(requests: int) -> str:
    return "1 request" if requests == 1 else f"{requests} requests"


def _arrow(before: Decimal, after: Decimal) -> str:
    difference = money(after - before)
    sign = "" if difference.startswith("-") else "+"
    return f"{money(before)} → {money(after)} ({sign}{difference})"
