"""Tells Django of this app."""

from django.apps import AppConfig


class ChatAppConfig(AppConfig):
    """Integer ids of 64 bits everywhere."""

    name = "chat_app"
    verbose_name = "Chat"
    default_auto_field = "django.db.models.BigAutoField"
