"""The look of the admin and its menu by area; who may not view a page does not see its entry."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

Entry = tuple[str, str, str]

# Title, icon, and the model whose list it leads to.
TENANTS: tuple[Entry, ...] = (
    ("Tenants", "domain", "tenants_app.tenant"),
    ("Teams", "groups", "tenants_app.team"),
    ("API keys", "key", "tenants_app.apikey"),
    ("Budgets", "speed", "tenants_app.budget"),
    ("Raises", "trending_up", "tenants_app.budgetraise"),
    ("Alerts", "notifications", "usage_app.alert"),
)
MODELS: tuple[Entry, ...] = (
    ("Models", "neurology", "tenants_app.model"),
    ("Routes", "alt_route", "tenants_app.route"),
    ("Upstreams", "dns", "tenants_app.upstream"),
    ("Prices", "sell", "usage_app.price"),
    ("Margins", "percent", "usage_app.margin"),
)
BOOKS: tuple[Entry, ...] = (
    ("Ledger", "receipt_long", "usage_app.ledgerentry"),
    ("Refusals", "block", "usage_app.refusalcount"),
    ("Hours", "schedule", "usage_app.hourlyusage"),
    ("Days", "today", "usage_app.dailyusage"),
    ("Months", "calendar_month", "usage_app.monthlyusage"),
    ("Statements", "lock", "usage_app.statement"),
    ("Reconciliation", "balance", "usage_app.reconciliation"),
    ("Drift", "rule", "usage_app.drift"),
    ("Provider bills", "request_quote", "usage_app.providerbill"),
)
ENGINE: tuple[Entry, ...] = (
    ("Windows", "window", "usage_app.usagewindow"),
    ("Open holds", "hourglass_top", "usage_app.reservation"),
    ("Rate buckets", "water_drop", "usage_app.ratebucket"),
    ("Processes", "memory", "usage_app.gatewayprocess"),
    ("Open circuits", "electrical_services", "chat_app.opencircuit"),
    ("Sessions", "chat", "chat_app.chatmessage"),
    ("Configuration versions", "tag", "tenants_app.configurationversion"),
)
STAFF: tuple[Entry, ...] = (
    ("Changes", "history", "tenants_app.change"),
    ("Staff tokens", "badge", "usage_app.stafftoken"),
    ("Users", "person", "auth.user"),
    ("Groups", "group", "auth.group"),
    ("Throttled logins", "lock_clock", "gateway_project.loginthrottle"),
)
AREAS = (
    ("Who may ask", TENANTS),
    ("Who answers", MODELS),
    ("Books", BOOKS),
    ("Engine room", ENGINE),
    ("Staff", STAFF),
)

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Tollgate",
    "SITE_HEADER": "Tollgate",
    "SITE_SUBHEADER": "AI gateway",
    "SITE_SYMBOL": "toll",
    "SITE_FAVICONS": [{"rel": "icon", "href": lambda _request: static("tenants_app/icon.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "ENVIRONMENT": "gateway_project.admin_menu.environment",
    "LOGIN": {"form": "gateway_project.login.forms.LoginForm"},
    "DASHBOARD_CALLBACK": "gateway_project.pages.front_page.front_page",
    "STYLES": [
        lambda _request: static("tenants_app/admin.css"),
        lambda _request: static("tenants_app/accessible.css"),
    ],
    "SCRIPTS": [
        lambda _request: static("tenants_app/accessible.js"),
        lambda _request: static("tenants_app/errors.js"),
    ],
    "SIDEBAR": {
        "show_search": True,
        "navigation": "gateway_project.admin_menu.sidebar",
    },
}


def environment(_request: HttpRequest) -> list[str]:
    """The badge that tells production from a laptop."""
    name = settings.ENVIRONMENT
    return [name, "danger" if name.startswith("prod") else "info"]


def sidebar(_request: HttpRequest) -> list[dict[str, Any]]:
    """The menu."""
    home = {"title": "Overview", "icon": "dashboard", "link": reverse("admin:index")}
    usage = {
        "title": "Usage",
        "icon": "bar_chart",
        "link": reverse("usage_report"),
        "permission": lambda request: request.user.has_perm("usage_app.view_ledgerentry"),
    }
    return [
        {"items": [home, usage]},
        *({"title": title, "items": list(map(_item, entries))} for title, entries in AREAS),
    ]


def _item(entry: Entry) -> dict[str, Any]:
    title, icon, label = entry
    return {
        "title": title,
        "icon": icon,
        "link": reverse(f"admin:{label.replace('.', '_')}_changelist"),
        "permission": may_view(label),
    }


def may_view(label: str) -> Callable[[HttpRequest], bool]:
    """Whether the user of a request may view, or change, a model's rows."""
    app, name = label.split(".")

    def allowed(request: HttpRequest) -> bool:
        user = request.user
        return user.has_perm(f"{app}.view_{name}") or user.has_perm(f"{app}.change_{name}")

    return allowed
