"""Tenants, their teams and keys, models, routes and budgets: what an operator configures.

It owns no counters and no entries (usage_app), and the request path reads it only through
`directory`, which caches these tables and relies on triggers to learn of every change.
"""

from tenants_app.models.alerts import AlertTargets
from tenants_app.models.audit import AUDITED, Change
from tenants_app.models.budgets import LIMIT_MAX, Budget
from tenants_app.models.catalogue import Model, Route, Upstream
from tenants_app.models.keys import ApiKey, ApiKeyUse
from tenants_app.models.raises import BudgetRaise
from tenants_app.models.staff import StaffScope
from tenants_app.models.teams import Team
from tenants_app.models.tenants import Tenant, TenantFallback, TenantHost
from tenants_app.models.versions import ConfigurationVersion

__all__ = [
    "AUDITED",
    "LIMIT_MAX",
    "AlertTargets",
    "ApiKey",
    "ApiKeyUse",
    "Budget",
    "BudgetRaise",
    "Change",
    "ConfigurationVersion",
    "Model",
    "Route",
    "StaffScope",
    "Team",
    "Tenant",
    "TenantFallback",
    "TenantHost",
    "Upstream",
]
