"""Imports tenants from a JSON file; `tenant_plan` and `tenant_writes` do it, this tells of it."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pghistory
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction

from tenants_app import tenant_files, tenant_plan, tenant_writes
from tenants_app.admin.refusals import sentence
from tenants_app.strict_json import Finding
from tenants_app.tenant_plan import Plan

SIZE_MAX: Final = 20 * 1024 * 1024


class Command(BaseCommand):
    help = (
        "Make and change tenants as a JSON file says: all of them, or none if anything is wrong."
        " Prints what changes; problems and warnings go to standard error, and problems exit with"
        " 1. What the file leaves out stays as it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="one tenant or a list of them; - is standard input")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would change, and change nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["file"]
        parsed = tenant_files.parse(_content(name))
        self._tell(parsed.warnings, "warning: ")
        self._refuse(parsed.problems)
        try:
            with pghistory.context(command="import_tenants", reason=f"import_tenants {name}"):
                plan = self._import(parsed.tenants, dry_run=options["dry_run"])
        except IntegrityError as error:
            raise CommandError(
                f"The database refused it, and nothing was imported: {sentence(error)} If somebody"
                " else changed these tenants at the same moment, try again."
            ) from error
        self._show(plan, dry_run=options["dry_run"])

    @transaction.atomic
    def _import(self, files: Iterable[tenant_files.TenantFile], *, dry_run: bool) -> Plan:
        plan = tenant_plan.plan(files)
        self._tell(plan.warnings, "warning: ")
        self._refuse(plan.problems)
        if not dry_run:
            tenant_writes.apply(plan)
        return plan

    def _refuse(self, problems: tuple[Finding, ...]) -> None:
        if problems:
            self._tell(problems)
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise CommandError(f"{count}, and nothing was imported.")

    def _tell(self, findings: Iterable[Finding], before: str = "") -> None:
        for finding in findings:
            self.stderr.write(f"{before}{finding}")

    def _show(self, plan: Plan, *, dry_run: bool) -> None:
        for one in plan.tenants:
            if one.changes:
                self.stdout.write(f"{one.file.slug}{' (new)' if one.is_new else ''}")
            for change in one.changes:
                self.stdout.write(f"  {change}")
        for model in plan.new_models:
            self.stdout.write(f"model {model} (new): it has no price yet")
        new = sum(one.is_new for one in plan.tenants)
        changed = sum(bool(one.changes) for one in plan.tenants) - new
        same = len(plan.tenants) - new - changed
        written = "; a dry run, so nothing was written" if dry_run else ""
        self.stdout.write(f"{new} new, {changed} changed, {same} unchanged{written}")


def _content(name: str) -> bytes:
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
            content = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from error
    if len(content) > SIZE_MAX:
        raise CommandError(f"{name} is larger than 20 MiB: split it.")
    return content
