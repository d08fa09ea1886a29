"""The admin's front page: what goes on now."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest

from tenants_app import staff
from usage_app import overview

admin.site.index_title = "Overview"
admin.site.index_template = "gateway_project/front_page.html"


def front_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the front page shows: to those who may view windows, what goes on."""
    if request.user.has_perm("usage_app.view_usagewindow"):
        context["overview"] = overview.now(staff.tenants_of(request.user))
        context["currency"] = settings.LEDGER_CURRENCY
    return context
