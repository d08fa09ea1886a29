"""Lets somebody try to log in again, from the command line."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from gateway_project.login import throttle
from gateway_project.login.models import LoginThrottle


class Command(BaseCommand):
    help = "Give back all tries to log in: of accounts or addresses, or with --all of everybody."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subjects", nargs="*", metavar="ACCOUNT_OR_ADDRESS")
        parser.add_argument("--all", action="store_true", dest="everybody")

    def handle(self, *args: Any, **options: Any) -> None:
        subjects, everybody = options["subjects"], options["everybody"]
        if bool(subjects) == everybody:
            raise CommandError("Name accounts or addresses, or say --all.")
        rows = LoginThrottle.objects.all()
        if not everybody:
            wanted = Q(subject__in=[throttle.network_of(one) or one for one in subjects])
            for one in subjects:
                wanted |= Q(kind="browser", subject__startswith=f"{one} ")
            rows = rows.filter(wanted)
        found = rows.delete()[0]
        self.stdout.write(f"{found} forgotten." if found else "Nobody of them was held back.")
