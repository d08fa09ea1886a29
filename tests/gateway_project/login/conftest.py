"""A provider of OIDC for the tests of logins, and settings that name it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway_project import roles
from gateway_project.login import provider
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider


@pytest.fixture(scope="module")
def running_provider() -> Iterator[OidcProvider]:
    with OidcProvider() as running:
        yield running


@pytest.fixture
def oidc(running_provider: OidcProvider, settings: Any, db: None) -> OidcProvider:
    """The provider, honest until told otherwise, and roles for its groups."""
    # Tests that flush the database take the groups of the migration with them.
    roles.make()
    provider.of.cache_clear()
    running_provider.forget()
    settings.OIDC_ISSUER = running_provider.issuer
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    settings.OIDC_ROLES = {"ops": ("Operator",), "money": ("Finance", "Auditor")}
    return running_provider
