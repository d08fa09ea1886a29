"""Tells Django of this app."""

from django.apps import AppConfig


class TenantsAppConfig(AppConfig):
    """Integer ids of 64 bits everywhere."""

    name = "tenants_app"
    verbose_name = "Setup"
    default_auto_field = "django.db.models.BigAutoField"
