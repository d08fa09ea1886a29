"""An upstream's page: how it is set, what became of the calls to it, and the way to its trial."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from chat_app.selectors import Health, health, open_circuits
from gateway_project.pages import upstream_actions
from tenants_app.admin.catalogue import UpstreamAdmin
from tenants_app.admin.pages import action, display
from tenants_app.models import Upstream

admin.site.unregister(Upstream)


@admin.register(Upstream)
class UpstreamPage(UpstreamAdmin):
    """The upstreams, with which of them are left alone at the moment."""

    list_display = (*UpstreamAdmin.list_display, "last_hour", "circuit")
    actions_detail = ("test_connection", "import_models")
    change_form_outer_before_template = "gateway_project/upstream_health.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        circuits = open_circuits().filter(upstream=OuterRef("pk"))
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(retry_at=Subquery(circuits.order_by("-retry_at").values("retry_at")[:1]))
        )
        return rows

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Django's; how the upstreams of the page fared is asked once for all of them."""
        found = super().get_changelist_instance(request)
        fared = health(found.result_list)
        for upstream in found.result_list:
            upstream.health = fared[upstream.pk]
        return found

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Django's, with how the upstream fared."""
        upstream = self.get_object(request, object_id)
        fared = {} if upstream is None else {"health": health([upstream])[upstream.pk]}
        return super().change_view(request, object_id, form_url, {**fared, **(extra_context or {})})

    def has_test_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whoever may set an upstream's token may see whether it works."""
        return request.user.has_perm("tenants_app.change_upstream")

    def has_import_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whether models and routes may be made."""
        return request.user.has_perms(("tenants_app.add_model", "tenants_app.add_route"))

    @action(description="Test connection", icon="network_check", permissions=["test"])
    def test_connection(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A smallest real call."""
        return self._with(request, object_id, upstream_actions.test_connection)

    @action(description="Import models", icon="playlist_add", permissions=["import"])
    def import_models(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Models and routes of what it offers."""
        return self._with(request, object_id, upstream_actions.import_models)

    def _with(self, request: HttpRequest, object_id: str, work: Any) -> HttpResponse:
        upstream = self.get_object(request, object_id)
        if upstream is None:
            messages.error(request, "There is no such upstream.")
            return redirect(self.url_of("changelist"))
        answer: HttpResponse = work(self, request, upstream)
        return answer

    @display(description="Last hour")
    def last_hour(self, upstream: Any) -> str:
        fared: Health = upstream.health
        if not fared.outcomes:
            return "no calls"
        failed = f", {fared.failed_percent} failed" if fared.failures else ""
        return f"{fared.calls:,} call{'' if fared.calls == 1 else 's'}{failed}"

    @display(
        description="Circuit",
        label={"open": "danger", "half-open": "warning", "closed": "success"},
    )
    def circuit(self, upstream: Any) -> str:
        if upstream.retry_at is None:
            return "closed"
        return "open" if timezone.now() < upstream.retry_at else "half-open"
