"""Which changes are audited: every one of the configuration and of staff's rights, by triggers,
without the secrets.

The events carry who and why from `pghistory.context` (the admin's middleware, commands). A sealed
token or secret and a key's digests are left out; that one changed shows in its `…_changed_at`.
"""

import pghistory
import pgtrigger
from django.conf import settings
from django.db import models
from pghistory.models import Events

from tenants_app.models.accounts import (
    Account,
    AccountGroup,
    AccountPermission,
    GroupPermission,
    PermissionGroup,
)
from tenants_app.models.alerts import AlertTargets
from tenants_app.models.budgets import Budget
from tenants_app.models.catalogue import Model, Route, Upstream
from tenants_app.models.keys import ApiKey
from tenants_app.models.raises import BudgetRaise
from tenants_app.models.staff import StaffScope
from tenants_app.models.teams import Team
from tenants_app.models.tenants import Tenant, TenantFallback, TenantHost


class AllowedModel(Tenant.allowed_models.through):  # type: ignore[name-defined, misc]
    """A row of a tenant's allow-list; triggers can only be declared on a class of its own."""

    class Meta:
        proxy = True

    def __str__(self) -> str:
        return f"{self.tenant}: {self.model}"


class ScopedTenant(StaffScope.tenants.through):  # type: ignore[name-defined, misc]
    """A tenant that a member of staff is held to."""

    class Meta:
        proxy = True

    def __str__(self) -> str:
        return f"{self.staffscope}: {self.tenant}"


AUDITED: dict[type[models.Model], list[str]] = {
    Tenant: [],
    AllowedModel: [],
    TenantFallback: [],
    TenantHost: [],
    Upstream: ["sealed_token"],
    Model: [],
    Route: [],
    Team: [],
    ApiKey: ["digest", "previous_digest"],
    Budget: [],
    BudgetRaise: [],
    StaffScope: [],
    ScopedTenant: [],
    AlertTargets: ["sealed_secret"],
    Account: ["password", "last_login"],
    AccountGroup: [],
    AccountPermission: [],
    PermissionGroup: [],
    GroupPermission: [],
}
# What is left out may change, too, and then it is said that it has: nothing of what it is. With the
# old row, so that what the same statement changes beside it is told by the event that comes next.
NEW_PASSWORD = pghistory.UpdateEvent(
    "password", condition=pgtrigger.AnyChange("password"), row=pghistory.Old
)
TOLD_ALONE: dict[type[models.Model], list[pghistory.RowEvent]] = {Account: [NEW_PASSWORD]}

for _model, _secrets in AUDITED.items():
    pghistory.track(
        pghistory.InsertEvent(),
        pghistory.UpdateEvent(),
        pghistory.DeleteEvent(),
        *TOLD_ALONE.get(_model, []),
        exclude=_secrets,
        append_only=True,
    )(_model)


class Change(Events):
    """An event of any audited table, with who and why from its context; it is read only."""

    user = pghistory.ProxyField(
        "pgh_context__user",
        models.ForeignKey(settings.AUTH_USER_MODEL, models.DO_NOTHING, null=True),
    )
    url = pghistory.ProxyField("pgh_context__url", models.TextField(null=True))
    reason = pghistory.ProxyField("pgh_context__reason", models.TextField(null=True))

    class Meta:
        proxy = True
        verbose_name = "change"
        verbose_name_plural = "changes"
