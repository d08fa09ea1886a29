"""`seed_demo`: the data that `./dev run` begins with. Safe to repeat."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from gateway_project.embedded import demo, home, real_upstream
from tenants_app import keys
from tenants_app.admin.refusals import in_words


class Command(BaseCommand):
    """Makes what is missing; changes only the upstream that the environment asks for."""

    help = "Make the demo tenants, models, key and admin, where they are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        kept = home.read_secrets(settings.TOLLGATE_HOME, demo_key=keys.new_secret)
        wanted = real_upstream.asked_for(os.environ)
        try:
            demo.seed(
                admin_password=kept["admin_password"],
                demo_key=kept["demo_key"],
                real=wanted,
                examples=demo.read_examples(settings.BASE_DIR / "docs" / "examples"),
            )
        except ValidationError as error:
            told = in_words(error)
            raise CommandError(wanted.blame(told.message_dict) if wanted else str(told)) from error
        if unused := real_upstream.unused(os.environ):
            self.stderr.write(unused)
        if options["verbosity"]:
            self.stdout.write("The demo data is there.")
