"""Makes the project's own management commands known to Django."""

from django.apps import AppConfig


class GatewayProjectConfig(AppConfig):
    """No models: only the commands that compose the apps."""

    name = "gateway_project"
    verbose_name = "Tollgate"
