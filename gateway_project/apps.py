"""Makes the project's own management commands and its Celery application known to Django."""

from django.apps import AppConfig


class GatewayProjectConfig(AppConfig):
    """What composes the apps, and staff's way in."""

    name = "gateway_project"
    verbose_name = "Tollgate"

    def ready(self) -> None:
        """Without it a task sent from the web would go to Celery's default broker."""
        from gateway_project import celery  # noqa: F401
        from gateway_project.login import checks  # noqa: F401
