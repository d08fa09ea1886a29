"""Imports a price list from a CSV file; `price_import` does it, this tells of it."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pghistory
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction

from tenants_app.admin.refusals import sentence
from tenants_app.strict_json import Finding
from usage_app.prices import files as price_files
from usage_app.prices import importing as price_import
from usage_app.prices.importing import Plan

SIZE_MAX: Final = 20 * 1024 * 1024


class Command(BaseCommand):
    help = (
        "Add prices to the price book as a CSV file says: all of them, or none if anything is"
        " wrong. Its columns are model, valid_from, input, cached_input, cache_write and output,"
        " per 1 000 000 tokens. Prints the difference; problems and warnings go to standard error,"
        " and problems exit with 1. Prices that the file does not name stay, used ones always."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the price list; - is standard input")
        parser.add_argument(
            "--dry-run", action="store_true", help="tell the difference, and change nothing"
        )
        parser.add_argument(
            "--make-models", action="store_true", help="make the models that do not exist"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["file"]
        parsed = price_files.parse(_content(name))
        self._refuse(parsed.problems)
        try:
            with pghistory.context(command="import_prices", reason=f"import_prices {name}"):
                plan = self._import(parsed.rows, options)
        except IntegrityError as error:
            raise CommandError(
                f"The database refused it, and nothing was imported: {sentence(error)} If somebody"
                " else changed prices at the same moment, try again."
            ) from error
        self._show(plan, dry_run=options["dry_run"])

    @transaction.atomic
    def _import(self, rows: Iterable[price_files.PriceRow], options: dict[str, Any]) -> Plan:
        now = datetime.now(UTC)
        plan = price_import.plan(rows, make_models=options["make_models"], now=now)
        for warning in plan.warnings:
            self.stderr.write(f"warning: {warning}")
        self._refuse(plan.problems)
        if not options["dry_run"]:
            price_import.apply(plan)
        return plan

    def _refuse(self, problems: tuple[Finding, ...]) -> None:
        if problems:
            for problem in problems:
                self.stderr.write(str(problem))
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise CommandError(f"{count}, and nothing was imported.")

    def _show(self, plan: Plan, *, dry_run: bool) -> None:
        for model in plan.new_models:
            self.stdout.write(f"model {model} (new)")
        for change in plan.changes:
            self.stdout.write(str(change))
        new = sum(change.sign == "+" for change in plan.changes)
        changed = len(plan.changes) - new
        written = "; a dry run, so nothing was written" if dry_run else ""
        self.stdout.write(f"{new} new, {changed} changed, {plan.unchanged} unchanged{written}")


def _content(name: str) -> bytes:
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            content = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from error
    if len(content) > SIZE_MAX:
        raise CommandError(f"{name} is larger than 20 MiB: split it.")
    return content
