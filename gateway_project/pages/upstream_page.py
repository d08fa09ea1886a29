"""An upstream's page: how it is set, and what became of the calls to it."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone

from chat_app.selectors import open_circuits
from tenants_app.admin.catalogue import UpstreamAdmin
from tenants_app.admin.pages import display
from tenants_app.models import Upstream

admin.site.unregister(Upstream)


@admin.register(Upstream)
class UpstreamPage(UpstreamAdmin):
    """The upstreams, with which of them are left alone at the moment."""

    list_display = (*UpstreamAdmin.list_display, "circuit")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        circuits = open_circuits().filter(upstream=OuterRef("pk"))
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(retry_at=Subquery(circuits.order_by("-retry_at").values("retry_at")[:1]))
        )
        return rows

    @display(
        description="Circuit",
        label={"open": "danger", "half-open": "warning", "closed": "success"},
    )
    def circuit(self, upstream: Any) -> str:
        if upstream.retry_at is None:
            return "closed"
        return "open" if timezone.now() < upstream.retry_at else "half-open"
