"""Pages of alerts: what was told of which budget, to whom, and what became of it. They only show,
and send again.
"""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    RangeDateFilter,
)

from tenants_app.admin.pages import ReadOnlyAdmin, ReadOnlyInline, action, confirmation, display
from usage_app.alerts import delivery, words
from usage_app.models import Alert, AlertDelivery
from usage_app.tasks import deliver_alert

PERMISSION = "usage_app.send_alert_again"


class DeliveryInline(ReadOnlyInline):
    """To whom it was sent."""

    model = AlertDelivery
    tenant_path = "alert__tenant"
    fields = ("channel", "target", "state_told", "attempts", "sent_at", "next_told", "last_error")
    readonly_fields = fields
    show_change_link = False
    hide_title = True
    verbose_name_plural = "Sent to"

    @display(
        description="State", label={"sent": "success", "pending": "warning", "failed": "danger"}
    )
    def state_told(self, row: AlertDelivery) -> str:
        return row.state

    @display(description="Next attempt")
    def next_told(self, row: AlertDelivery) -> Any:
        return row.next_attempt_at if row.state == AlertDelivery.State.PENDING else None


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """The percentages of budgets that were crossed."""

    tenant_path = "tenant"
    tenant_permissions = (PERMISSION,)
    list_display = (
        "created_at",
        "tenant",
        "scope",
        "percent_told",
        "budget_told",
        "used_told",
        "starts_at",
        "state",
    )
    list_display_links = ("created_at", "tenant")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("deliveries__state", ChoicesDropdownFilter),
        ("created_at", RangeDateFilter),
    )
    list_select_related = ("tenant", "team", "api_key")
    ordering = ("-created_at", "-percent")
    readonly_fields = ("scope", "percent_told", "budget_told", "used_told", "message", "state")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("tenant", "scope"),
                    ("budget_told", "used_told"),
                    ("percent_told", "created_at"),
                    ("starts_at", "ends_at"),
                    ("message", "id"),
                )
            },
        ),
    )
    inlines = (DeliveryInline,)
    actions_detail = ("send_again",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                **{
                    name: Count("deliveries", filter=Q(deliveries__state=name), distinct=True)
                    for name in AlertDelivery.State.values
                }
            )
        )
        return rows

    @display(description="Of")
    def scope(self, alert: Alert) -> str:
        return words.scope(alert)

    @display(description="Crossed")
    def percent_told(self, alert: Alert) -> str:
        return f"{alert.percent} %"

    @display(description="Budget")
    def budget_told(self, alert: Alert) -> str:
        return f"{words.amount(alert, alert.limit)} per {alert.period}"

    @display(description="Used then")
    def used_told(self, alert: Alert) -> str:
        return f"{words.amount(alert, alert.used)} ({words.share(alert)} %)"

    @display(description="Message")
    def message(self, alert: Alert) -> str:
        if alert.told_percent == alert.percent:
            return words.subject(alert)
        return f"None of its own: told with {alert.told_percent} %."

    @display(
        description="Told",
        label={
            "sent": "success",
            "pending": "warning",
            "failed": "danger",
            "nobody": "info",
            "with": "info",
        },
    )
    def state(self, alert: Any) -> tuple[str, str]:
        if alert.told_percent != alert.percent:
            return "with", f"with {alert.told_percent} %"
        for state in ("failed", "pending", "sent"):
            if count := getattr(alert, state):
                return state, f"{count} {state}"
        return "nobody", "no address"

    def has_send_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whether the button is shown."""
        return request.user.has_perm(PERMISSION)

    @action(description="Send again", icon="forward_to_inbox", permissions=["send"])
    def send_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Try what failed anew, and tell addresses that are new."""
        alert = self.get_object(request, object_id)
        if alert is None:
            messages.error(request, "There is no such alert.")
            return redirect(self.url_of("changelist"))
        if request.POST.get("confirmed") != "yes":
            return confirmation(
                self,
                request,
                title=f"Send again: {alert}",
                button="Send",
                sentences=[
                    "What failed is tried anew, and addresses of the tenant that are new are told.",
                    "What was sent is not sent twice.",
                ],
                confirmed="yes",
                objects=[alert],
            )
        rows = delivery.send_again(alert)
        for pk in rows:
            deliver_alert.delay(str(pk))
        if rows:
            messages.success(request, f"{len(rows)} on their way.")
        else:
            messages.warning(request, "Nothing failed, and there is no address to tell.")
        return redirect(self.url_of("change", alert.pk))
