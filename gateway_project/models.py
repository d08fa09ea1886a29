"""The tables of the composition root, for Django, which looks for them under this name."""

from gateway_project.login.models import LoginThrottle, OidcIdentity

__all__ = ["LoginThrottle", "OidcIdentity"]
