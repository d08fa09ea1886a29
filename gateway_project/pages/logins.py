"""The page of logins that are held back, where an operator lets somebody try again."""

from typing import Any

from django.contrib import admin
from django.db.models import F, FloatField, Func, Model
from django.db.models.functions import Now
from django.http import HttpRequest

from gateway_project.login import throttle
from gateway_project.login.forms import in_words
from gateway_project.login.models import LoginThrottle
from tenants_app.admin.pages import ReadOnlyAdmin, display

admin.site.login_template = "gateway_project/login.html"


class Seconds(Func):
    """A span of time in seconds."""

    template = "extract(epoch FROM %(expressions)s)::float8"
    output_field = FloatField()


@admin.register(LoginThrottle)
class LoginThrottleAdmin(ReadOnlyAdmin):
    """Who has used up tries. Deleting a row gives them all back."""

    list_display = ("subject", "kind", "held_back", "full_again_at")
    list_filter = ("kind",)
    search_fields = ("subject",)
    readonly_fields = ("subject", "kind", "held_back", "full_again_at")
    actions = ("delete_selected",)  # type: ignore[assignment]

    def get_queryset(self, request: HttpRequest) -> Any:
        left = Seconds(F("full_again_at") - Now())
        return super().get_queryset(request).annotate(seconds_left=left)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("gateway_project.delete_loginthrottle")

    @display(description="Held back for")
    def held_back(self, row: Any) -> str:
        wait = throttle.wait_of(row, row.seconds_left)
        return in_words(wait) if wait else "not held back"
