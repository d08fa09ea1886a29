"""What `manage.py check` and `migrate` say of settings of logins that make no sense."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from gateway_project.login import provider


@register(Tags.security)
def logins(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """Every problem of OIDC's settings, and of who may use a password."""
    return [Error(text, id=f"tollgate.E{number:03}") for number, text in _problems().items()]


def _problems() -> dict[int, str]:
    if not settings.OIDC_ISSUER:
        nobody = "OIDC_ONLY leaves superusers alone with a way in: it needs OIDC_ISSUER."
        return {1: nobody} if settings.OIDC_ONLY else {}
    found = {}
    if not provider.safe(settings.OIDC_ISSUER):
        found[2] = "OIDC_ISSUER must begin with https://; plain HTTP is for loopback only."
    if not settings.OIDC_CLIENT_ID:
        found[3] = "OIDC_ISSUER needs OIDC_CLIENT_ID."
    if not settings.OIDC_ROLES:
        found[4] = "OIDC_ROLES maps no group to a role, so nobody can log in by OIDC."
    return found
