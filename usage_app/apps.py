"""Tells Django of this app."""

from django.apps import AppConfig


class UsageAppConfig(AppConfig):
    """Integer ids of 64 bits everywhere."""

    name = "usage_app"
    verbose_name = "Usage"
    default_auto_field = "django.db.models.BigAutoField"
