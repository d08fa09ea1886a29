"""The roles of staff: groups with exactly the permissions that their work needs. A migration makes
them; what an administrator then changes of a group is kept.

None of them sees what was said in sessions, and no page shows a provider's token or a key's secret.
"""

from collections.abc import Iterable, Mapping

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission

VIEW, ALL = ("view",), ("view", "add", "change", "delete")

_CONFIGURATION = (
    *("tenant", "tenantfallback", "tenanthost", "upstream", "model", "route"),
    *("team", "apikey", "budget", "alerttargets"),
)
_OF_TENANTS = (
    *("ledgerentry", "usagewindow", "reservation", "refusalcount"),
    *("hourlyusage", "dailyusage", "monthlyusage"),
    *("alert", "alertdelivery"),
)
_FACTS = (*_OF_TENANTS, "reconciliation", "drift", "statement")
_BILLS = ("providerbill", "providerbillline", "providerbillmatch")
_ENGINE = ("ratebucket", "gatewayprocess")


def _may(app: str, models: Iterable[str], verbs: Iterable[str] = VIEW) -> set[str]:
    return {f"{app}.{verb}_{model}" for model in models for verb in verbs}


ROLES: Mapping[str, frozenset[str]] = {
    # Tenants, keys, models and upstreams; looks at the books, and changes nothing of money.
    "Operator": frozenset(
        _may("tenants_app", _CONFIGURATION, ALL)
        | _may("tenants_app", ("budgetraise",), ("view", "add", "change"))
        | _may("tenants_app", ("change", "configurationversion"))
        | _may("usage_app", (*_FACTS, *_ENGINE, "price", "margin"))
        | _may("chat_app", ("opencircuit",))
        | _may("gateway_project", ("loginthrottle",), ("view", "delete"))
        | {"tenants_app.try_models", "usage_app.send_alert_again"}
    ),
    # Prices, corrections, bills and closes; issues no key, and has no business with upstreams.
    "Finance": frozenset(
        _may("tenants_app", ("tenant", "model", "team", "apikey", "budget", "budgetraise"))
        | _may("tenants_app", ("alerttargets",))
        | _may("usage_app", (*_FACTS, *_BILLS))
        | _may("usage_app", ("price", "margin"), ALL)
        | _may("usage_app", ("stafftoken",), ("view", "add", "change"))
        | {"usage_app.correct_ledger", "usage_app.close_month", "usage_app.match_bill"}
    ),
    # Sees how everything is set and what it came to, and touches nothing.
    "Auditor": frozenset(
        _may("tenants_app", (*_CONFIGURATION, "budgetraise", "change"))
        | _may("usage_app", (*_FACTS, *_BILLS, *_ENGINE, "price", "margin", "stafftoken"))
        | _may("chat_app", ("opencircuit",))
        | _may("gateway_project", ("loginthrottle",))
    ),
    # Looks after some tenants' keys, and at their books; sees nothing of others.
    "Tenant staff": frozenset(
        {"tenants_app.within_tenants", "tenants_app.try_models"}
        | _may("tenants_app", ("tenant", "tenantfallback", "tenanthost", "team"))
        | _may("tenants_app", ("budget", "budgetraise", "change"))
        | _may("tenants_app", ("apikey",), ("view", "add", "change"))
        | _may("usage_app", (*_OF_TENANTS, "statement"))
    ),
}


def make(names: Iterable[str] = tuple(ROLES)) -> None:
    """Make these groups, and give each the permissions that it lacks; takes nothing away."""
    # A migration runs before Django makes the permissions of the models it has made.
    for config in apps.get_app_configs():
        create_permissions(config, verbosity=0)
    known = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in Permission.objects.select_related("content_type")
    }
    for name in names:
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*(known[wanted] for wanted in ROLES[name]))
