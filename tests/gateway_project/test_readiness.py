"""What /ready tells an operator beyond yes and no."""

from datetime import UTC, datetime

import pytest

from gateway_project import readiness
from tests.factories import make_tenant
from tests.usage_app.entries import make_entry


@pytest.mark.django_db(transaction=True)
def test_entry_outside_of_every_month_is_a_warning() -> None:
    acme = make_tenant()
    assert readiness.warnings() == []
    make_entry(acme, created_at=datetime(2199, 1, 1, tzinfo=UTC))
    assert readiness.warnings() == ["ledger_default_partition"]
