"""The tables of the composition root, for Django, which looks for them under this name."""

from gateway_project.login.models import LoginThrottle, OidcIdentity
from gateway_project.machinery.models import WorkerHeartbeat

__all__ = ["LoginThrottle", "OidcIdentity", "WorkerHeartbeat"]
