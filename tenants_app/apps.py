"""Tells Django of this app."""

from django.apps import AppConfig, apps

# Django makes a field's label of its name; these words are written otherwise.
WORDS = {"api": "API", "ttft": "TTFT", "url": "URL", "uuid": "UUID"}


class TenantsAppConfig(AppConfig):
    """Integer ids of 64 bits everywhere."""

    name = "tenants_app"
    verbose_name = "Setup"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Mend the labels of all fields; what migrations know of them is left alone."""
        for model in apps.get_models(include_auto_created=True):
            for field in model._meta.fields:
                field.verbose_name = spelt(str(field.verbose_name))


def spelt(label: str) -> str:
    """A label with its abbreviations as people write them: `TTFT, ms`."""
    text = " ".join(WORDS.get(word, word) for word in label.split(" "))
    return f"{text.removesuffix(' ms')}, ms" if text.endswith(" ms") else text
