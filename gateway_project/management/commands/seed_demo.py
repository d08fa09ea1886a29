"""`seed_demo`: the data that `./dev run` begins with. Safe to repeat."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from gateway_project.embedded import demo, home
from tenants_app import keys


class Command(BaseCommand):
    """Makes what is missing; changes only the upstream that OPENAI_* asks for."""

    help = "Make the demo tenants, models, key and admin, where they are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        kept = home.read_secrets(settings.TOLLGATE_HOME, demo_key=keys.new_secret)
        try:
            demo.seed(
                admin_password=kept["admin_password"],
                demo_key=kept["demo_key"],
                openai=demo.OpenAI.of(os.environ),
                examples=demo.read_examples(settings.BASE_DIR / "docs" / "examples"),
            )
        except ValidationError as error:
            raise CommandError(f"OPENAI_BASE_URL: {'; '.join(error.messages)}") from error
        if options["verbosity"]:
            self.stdout.write("The demo data is there.")
