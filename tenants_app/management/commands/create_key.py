"""Issues an API key from the command line."""

from typing import Any

import pghistory
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants_app import keys
from tenants_app.models import Tenant


class Command(BaseCommand):
    help = "Issue an API key for a tenant and print it, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's slug")
        parser.add_argument("--name", default="created by create_key")
        parser.add_argument("--scope", action="append", dest="scopes", help="may be repeated")
        parser.add_argument("--reason", default="", help="for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            tenant = Tenant.objects.get(slug=options["tenant"])
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {options['tenant']!r}.") from error
        with pghistory.context(command="create_key", reason=options["reason"]):
            issued = keys.issue(tenant, name=options["name"], scopes=options["scopes"])
        self.stdout.write(issued.secret)
