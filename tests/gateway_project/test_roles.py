"""What each role may do, on every page of the admin."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from gateway_project import roles
from tenants_app import staff
from tenants_app.models import Tenant
from tests.admin_site import make_staff, registered

pytestmark = pytest.mark.django_db

# By model: what Operator, Finance and Auditor may (v)iew, (a)dd, (c)hange and (d)elete.
TABLE = {
    "auth.Group": ("", "", ""),
    "auth.User": ("", "", ""),
    "chat_app.ChatMessage": ("", "", ""),
    "chat_app.OpenCircuit": ("v", "", "v"),
    "gateway_project.LoginThrottle": ("vd", "", "v"),
    "tenants_app.ApiKey": ("vacd", "v", "v"),
    "tenants_app.Budget": ("vacd", "v", "v"),
    "tenants_app.BudgetRaise": ("vac", "v", "v"),
    "tenants_app.Change": ("v", "", "v"),
    "tenants_app.ConfigurationVersion": ("v", "", ""),
    "tenants_app.Model": ("vacd", "v", "v"),
    "tenants_app.Route": ("vacd", "", "v"),
    "tenants_app.Team": ("vacd", "v", "v"),
    "tenants_app.Tenant": ("vacd", "v", "v"),
    "tenants_app.Upstream": ("vacd", "", "v"),
    "usage_app.Alert": ("v", "v", "v"),
    "usage_app.DailyUsage": ("v", "v", "v"),
    "usage_app.Drift": ("v", "v", "v"),
    "usage_app.GatewayProcess": ("v", "", "v"),
    "usage_app.HourlyUsage": ("v", "v", "v"),
    "usage_app.LedgerEntry": ("v", "v", "v"),
    "usage_app.Margin": ("v", "vacd", "v"),
    "usage_app.MonthlyUsage": ("v", "v", "v"),
    "usage_app.Price": ("v", "vacd", "v"),
    "usage_app.ProviderBill": ("", "v", "v"),
    "usage_app.ProviderBillLine": ("", "v", "v"),
    "usage_app.ProviderBillMatch": ("", "v", "v"),
    "usage_app.RateBucket": ("v", "", "v"),
    "usage_app.Reconciliation": ("v", "v", "v"),
    "usage_app.RefusalCount": ("v", "v", "v"),
    "usage_app.Reservation": ("v", "v", "v"),
    "usage_app.StaffToken": ("", "vac", "v"),
    "usage_app.Statement": ("v", "v", "v"),
    "usage_app.UsageWindow": ("v", "v", "v"),
}
# The same of Tenant staff, which sees one tenant's rows; what is not here is closed to it.
OF_TENANTS = {
    "tenants_app.ApiKey": "vac",
    "tenants_app.Budget": "v",
    "tenants_app.BudgetRaise": "v",
    "tenants_app.Change": "v",
    "tenants_app.Team": "v",
    "tenants_app.Tenant": "v",
    "usage_app.Alert": "v",
    "usage_app.DailyUsage": "v",
    "usage_app.HourlyUsage": "v",
    "usage_app.LedgerEntry": "v",
    "usage_app.MonthlyUsage": "v",
    "usage_app.RefusalCount": "v",
    "usage_app.Reservation": "v",
    "usage_app.Statement": "v",
    "usage_app.UsageWindow": "v",
}
ROLES = ("Operator", "Finance", "Auditor", "Tenant staff")
VERBS = {"v": "view", "a": "add", "c": "change", "d": "delete"}
# The right to match bills opens what the bare permissions do not.
OPENED = {("Finance", "usage_app.ProviderBill"): "ad"}
OF_MONEY = {"usage_app.correct_ledger", "usage_app.close_month", "usage_app.match_bill"}


@pytest.fixture
def made(db: None) -> None:
    # Tests that flush the database take the groups of the migration with them.
    roles.make()


def member(role: str) -> User:
    """One of a role; Tenant staff is held to acme, if there is one."""
    user = make_staff()
    user.groups.add(Group.objects.get(name=role))
    if role == "Tenant staff":
        staff.hold_to(user, Tenant.objects.filter(slug="acme"))
    return user


def rights(role: str, label: str) -> str:
    """What the tables say."""
    if role == "Tenant staff":
        return OF_TENANTS.get(label, "")
    return TABLE[label][ROLES.index(role)] if label in TABLE else "not in the table"


def browser(role: str) -> Client:
    client = Client()
    client.force_login(member(role))
    return client


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("role", ROLES)
def test_role_has_these_permissions_on_the_pages_and_no_others(role: str) -> None:
    user = member(role)
    found, expected = {}, {}
    for model in registered():
        label, name = model._meta.label, model._meta.model_name
        may = [
            letter
            for letter, verb in VERBS.items()
            if user.has_perm(f"{model._meta.app_label}.{verb}_{name}")
        ]
        found[label] = "".join(may)
        expected[label] = rights(role, label)
    assert found == expected


@pytest.mark.usefixtures("made")
def test_only_finance_touches_money() -> None:
    held = {role: {name for name in OF_MONEY if member(role).has_perm(name)} for role in ROLES}
    assert held == {role: OF_MONEY if role == "Finance" else set() for role in ROLES}


def test_roles_are_made_twice_as_once_and_keep_what_was_added(db: None) -> None:
    roles.make()
    operator = Group.objects.get(name="Operator")
    extra = Permission.objects.get(codename="view_chatmessage")
    operator.permissions.add(extra)
    roles.make()
    given: Any = operator.permissions
    assert given.count() == len(roles.ROLES["Operator"]) + 1
    assert extra in given.all()
