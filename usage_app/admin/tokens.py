"""Pages of staff tokens: issued and revoked through `usage_app.reports.staff_tokens`, shown once.

The secret exists in one response: it is in no URL, session, message or log.
"""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone

from tenants_app.admin.pages import (
    ConfigurationAdmin,
    WordedForm,
    action,
    confirmation,
    display,
)
from usage_app.models import StaffToken
from usage_app.reports import staff_tokens

STATES = {"live": "success", "expired": "warning", "revoked": "danger"}


class StaffTokenForm(WordedForm):
    """What may be said of a token; its secret is made, not typed."""

    class Meta:
        model = StaffToken
        fields = ("name", "expires_at")
        help_texts = {
            "name": "Which tool it is for; once among the live tokens.",
            "expires_at": "UTC. Empty: never.",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        same = StaffToken.objects.filter(name=cleaned.get("name"), revoked_at=None)
        # This also keeps a reloaded page from issuing the token again.
        if self.instance.revoked_at is None and same.exclude(pk=self.instance.pk).exists():
            self.add_error("name", "There is a live token of this name already.")
        expires_at = cleaned.get("expires_at")
        if "expires_at" in self.changed_data and expires_at and expires_at <= timezone.now():
            self.add_error("expires_at", "This is in the past.")
        return cleaned


@admin.register(StaffToken)
class StaffTokenAdmin(ConfigurationAdmin):
    """Adding a token issues it, to whoever adds it; tokens are revoked, not deleted."""

    form = StaffTokenForm
    list_display = ("name", "owner", "shown", "state", "scope_list", "expires_at")
    list_select_related = ("owner",)
    search_fields = ("name", "prefix", "owner__username")
    actions_detail = ("revoke",)
    ordering = ("name", "id")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ("name", "expires_at")
        return fields if obj is None else (*fields, *self.get_readonly_fields(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("owner", "shown", "scope_list", "state", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form that issues a token."""
        context = {
            "title": "Issue staff token",
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
        }
        return super().add_view(request, form_url, context | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: StaffToken, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        owner: Any = request.user
        issued = staff_tokens.issue(owner, name=obj.name, expires_at=obj.expires_at)
        obj.pk = issued.token.pk
        obj.refresh_from_db()
        request.issued = issued  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: StaffToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The one page that shows the secret; it answers the POST, so no address leads back."""
        issued: staff_tokens.IssuedToken = request.issued  # type: ignore[attr-defined]
        url = request.build_absolute_uri("/reports/usage")
        response = TemplateResponse(
            request,
            "admin/staff_token_secret.html",
            {
                **self.admin_site.each_context(request),
                "title": "Staff token",
                "opts": self.opts,
                "token": issued.token,
                "secret": issued.secret,
                "curl": f"curl {url} \\\n  -H 'Authorization: Bearer {issued.secret}'",
            },
        )
        response["Cache-Control"] = "no-store"
        return response

    @action(description="Revoke", icon="block", permissions=["change"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The end of a token."""
        token: StaffToken | None = self.get_object(request, object_id)
        if token is None:
            messages.error(request, "There is no such token.")
            return redirect(self.url_of("changelist"))
        if request.POST.get("confirmed") != "yes":
            return confirmation(
                self,
                request,
                title=f"Revoke {token}",
                button="Revoke",
                sentences=["Requests with it are refused from now on. This cannot be undone."],
                confirmed="yes",
                objects=[token],
            )
        staff_tokens.revoke(token)
        self.log_change(request, token, "Revoked.")
        messages.success(request, f"Revoked: {token}.")
        return redirect(self.url_of("change", token.pk))

    @display(description="Token")
    def shown(self, token: StaffToken) -> str:
        return f"{token.prefix}…"

    @display(description="Scopes")
    def scope_list(self, token: StaffToken) -> str:
        return ", ".join(token.scopes)

    @display(description="State", label=STATES)
    def state(self, token: StaffToken) -> str:
        if token.revoked_at is not None:
            return "revoked"
        expired = token.expires_at is not None and token.expires_at <= timezone.now()
        return "expired" if expired else "live"
