"""Takes old, closed months out of the ledger from the command line; `retention` does it."""

from argparse import ArgumentTypeError
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from usage_app.statements import retention
from usage_app.usage_query import month_of


def month(text: str) -> date:
    """The first day of a month as it is typed."""
    found = month_of(text)
    if found is None:
        raise ArgumentTypeError("a month, as in 2026-03")
    return found


class Command(BaseCommand):
    help = (
        "Detach the ledger's partitions of the months (UTC) before this one. Refuses all of them if"
        " one has an entry whose month is not closed. The tables stay, for you to archive and drop."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--before", type=month, required=True, metavar="MONTH")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        before: date = options["before"]
        if before > datetime.now(UTC).date().replace(day=1):
            raise CommandError("This month and later ones stay in the ledger.")
        found = retention.old(before)
        still_open = [f"{one.table}: {told}" for one in found for told in one.still_open]
        if still_open:
            raise CommandError("\n".join(["Not closed yet, so nothing is detached:", *still_open]))
        for partition in found:
            if not options["dry_run"]:
                self._detach(partition)
            done = "would be detached" if options["dry_run"] else "detached"
            self.stdout.write(f"{partition.table}: {partition.entries} entries, {done}")
        if not found:
            self.stdout.write("There is no partition of a month before it.")

    def _detach(self, partition: retention.Partition) -> None:
        try:
            retention.detach(partition)
        except retention.StillOpen as error:
            raise CommandError(f"{partition.table} stays: meanwhile came {error}") from error
        except OperationalError as error:
            raise CommandError(f"{partition.table} stays, run it again: {error}") from error
