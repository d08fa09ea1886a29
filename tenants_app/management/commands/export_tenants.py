"""Exports tenants as a JSON file that `import_tenants` reads; `tenant_export` makes it."""

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

from tenants_app import tenant_export


class Command(BaseCommand):
    help = (
        "Write tenants as a JSON file that import_tenants makes the same tenants of. API keys are"
        " written as digests, which serve only under the same TOLLGATE_KEY_PEPPER; tokens of"
        " providers are not written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenants", nargs="*", metavar="SLUG", help="without any: all tenants")
        parser.add_argument("--output", metavar="FILE", help="instead of standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        slugs = options["tenants"] or None
        with transaction.atomic():
            _at_one_moment()
            tenants, notes = tenant_export.export(slugs)
        missing = sorted(set(slugs or ()) - {tenant["tenantId"] for tenant in tenants})
        if missing:
            raise CommandError(f"There is no tenant {', '.join(map(repr, missing))}.")
        for note in notes:
            self.stderr.write(f"warning: {note}")
        text = tenant_export.as_text(tenants)
        if options["output"] is None:
            self.stdout.write(text, ending="")
        else:
            _write(Path(options["output"]), text)


def _at_one_moment() -> None:
    """All queries of a transaction that has just begun see the same moment."""
    if len(connection.savepoint_ids) == 0:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _write(path: Path, text: str) -> None:
    """Write where the path leads; what is there and no file, as a pipe, stays what it is."""
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path.resolve(), text)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error


def _replace(path: Path, text: str) -> None:
    """The whole file or none, readable for its owner alone: it has digests of keys."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
