"""Pages of API keys: issued, rotated and revoked through `tenants_app.keys`, shown once.

The secret exists in one response: it is in no URL, session, message or log.
"""

import json
import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from tenants_app import keys
from tenants_app.admin.budgets import KeyBudgetInline
from tenants_app.admin.pages import (
    ConfigurationAdmin,
    WordedForm,
    action,
    confirmation,
    display,
)
from tenants_app.models import ApiKey
from tenants_app.models.keys import default_scopes

STATES = {"live": "success", "expired": "warning", "revoked": "danger"}
PLAYGROUND_ENDS = (
    "Without its playground's key nobody can try models at a tenant's charge any more."
)


def state_of(key: ApiKey) -> str:
    """What a key is worth now: live, expired or revoked."""
    if key.revoked_at is not None:
        return "revoked"
    return "live" if key.is_live() else "expired"


class ApiKeyForm(WordedForm):
    """What may be said of a key; its secret is made, not typed."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in default_scopes()],
        initial=default_scopes,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What the key may do.",
    )

    class Meta:
        model = ApiKey
        fields = ("tenant", "team", "name", "scopes", "expires_at")
        help_texts = {
            "team": "Its budgets are shared by all of its keys. Empty: none. It never changes.",
            "name": "Which application or person it is for; once among a tenant's live keys.",
            "expires_at": "UTC. Empty: never.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A key may have scopes of another version, and must not lose them by being renamed.
        if field := self.fields.get("scopes"):
            known = dict.fromkeys([*default_scopes(), *self.instance.scopes])
            field.choices = [(scope, scope) for scope in known]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        tenant = cleaned.get("tenant") or self.instance.tenant_id
        team = cleaned.get("team")
        if team and cleaned.get("tenant") and team.tenant_id != cleaned["tenant"].pk:
            self.add_error("team", "This team is another tenant's.")
        if tenant and "name" in cleaned:
            same = ApiKey.objects.for_tenant(tenant).filter(name=cleaned["name"], revoked_at=None)
            # This also keeps a reloaded page from issuing the key again.
            if same.exclude(pk=self.instance.pk).exists() and self.instance.revoked_at is None:
                self.add_error("name", "The tenant has a live key of this name already.")
        expires_at = cleaned.get("expires_at")
        if "expires_at" in self.changed_data and expires_at and expires_at <= timezone.now():
            self.add_error("expires_at", ValidationError("This is in the past."))
        return cleaned


class StateFilter(DropdownFilter):  # type: ignore[misc]
    """Live, expired or revoked keys."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, page: Any) -> list[tuple[str, str]]:
        return [(state, state.capitalize()) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        expired = Q(expires_at__isnull=False, expires_at__lte=Now())
        match self.value():
            case "live":
                return queryset.filter(~expired, revoked_at=None)
            case "expired":
                return queryset.filter(expired, revoked_at=None)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


class KeyColumns:
    """What a list of keys says of each."""

    @display(description="Key")
    def shown(self, key: ApiKey) -> str:
        return "none: it marks what staff tried" if key.is_playground else f"{key.prefix}…"

    @display(description="State", label=STATES)
    def state(self, key: ApiKey) -> str:
        return state_of(key)

    @display(description="Scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @display(description="Last used")
    def last_used(self, key: ApiKey) -> str:
        use = getattr(key, "use", None)
        return f"{use.last_used_at:%Y-%m-%d %H:%M}" if use else "never"


@admin.register(ApiKey)
class ApiKeyAdmin(KeyColumns, ConfigurationAdmin):
    """Adding a key issues it; keys are revoked, not deleted, since the books name them."""

    tenant_path = "tenant"
    form = ApiKeyForm
    list_display = (
        *("name", "tenant", "team", "shown", "state", "scope_list", "expires_at", "last_used"),
    )
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("team", AutocompleteSelectFilter),
        StateFilter,
    )
    list_select_related = ("tenant", "team", "use")
    search_fields = ("name", "prefix", "tenant__slug", "tenant__name", "team__slug", "team__name")
    search_help_text = "Name, beginning of the key, tenant or team"
    autocomplete_fields = ("tenant", "team")
    actions = ("revoke_selected",)
    actions_list = ("issue",)
    actions_detail = ("rotate", "revoke")
    actions_row = ("rotate", "revoke")
    add_form_template = "tenants_app/key_form.html"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and obj.is_playground:
            return ("tenant", "name", "shown", "state", "created_at", "last_used")
        fields = ("tenant", "team", "name", "scopes", "expires_at")
        return fields if obj is None else (*fields, "shown", "state", "created_at", "last_used")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        record = ("shown", "state", "created_at", "last_used")
        if obj is not None and obj.is_playground:
            return ("tenant", "name", *record)
        return record if obj is None else ("tenant", "team", *record)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return () if obj is None else (KeyBudgetInline,)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form that issues a key; `?tenant=` chooses the tenant."""
        context = {
            "title": "Issue API key",
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
        }
        return super().add_view(request, form_url, context | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        issued = keys.issue(
            obj.team or obj.tenant, name=obj.name, scopes=obj.scopes, expires_at=obj.expires_at
        )
        obj.pk = issued.key.pk
        obj.refresh_from_db()
        request.issued = issued  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The one page that shows the secret; it answers the POST, so no address leads back."""
        return self._secret_page(request, request.issued)  # type: ignore[attr-defined]

    @action(description="Issue key", icon="key", permissions=["add"])
    def issue(self, request: HttpRequest) -> HttpResponse:
        """To the form that issues a key."""
        return redirect(self.url_of("add"))

    @action(description="Rotate", icon="autorenew", permissions=["change"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A new secret for the same key."""
        key = self._changeable(request, object_id)
        if key is None:
            return redirect(self.url_of("changelist"))
        if key.revoked_at is not None:
            messages.error(request, "A revoked key is not rotated; issue a new one.")
            return redirect(self.url_of("change", key.pk))
        if key.is_playground:
            messages.error(request, "The playground's key has no secret to rotate.")
            return redirect(self.url_of("change", key.pk))
        if request.POST.get("confirmed") != key.prefix:
            return confirmation(
                self,
                request,
                title=f"Rotate {key}",
                button="Rotate the key",
                sentences=[
                    "The key gets a new secret, which is shown once; its budgets and usage go on.",
                    "The present secret stops working at once.",
                ],
                # A reloaded page names a secret that is gone, and so asks again.
                confirmed=key.prefix,
                objects=[key],
            )
        issued = keys.rotate(key)
        self.log_change(request, key, "Rotated.")
        return self._secret_page(request, issued)

    @action(description="Revoke", icon="block", permissions=["change"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The end of a key."""
        key = self._changeable(request, object_id)
        if key is None:
            return redirect(self.url_of("changelist"))
        if request.POST.get("confirmed") != "yes":
            return self._ask_to_revoke(request, [key])
        self._revoke(request, [key])
        return redirect(self.url_of("change", key.pk))

    @admin.action(description="Revoke selected keys", permissions=["change"])
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[ApiKey]
    ) -> HttpResponse | None:
        """The end of several keys."""
        if request.POST.get("confirmed") != "yes":
            return self._ask_to_revoke(request, list(queryset), action="revoke_selected")
        self._revoke(request, list(queryset))
        return None

    def _changeable(self, request: HttpRequest, object_id: str) -> ApiKey | None:
        key: ApiKey | None = self.get_object(request, object_id)
        if key is None:
            messages.error(request, "There is no such key.")
        return key

    def _ask_to_revoke(
        self, request: HttpRequest, chosen: list[ApiKey], **context: Any
    ) -> HttpResponse:
        return confirmation(
            self,
            request,
            title="Revoke API keys" if len(chosen) != 1 else f"Revoke {chosen[0]}",
            button="Revoke",
            sentences=[
                "Requests with it are refused from now on. This cannot be undone.",
                *([PLAYGROUND_ENDS] if any(key.is_playground for key in chosen) else []),
            ],
            confirmed="yes",
            objects=chosen,
            checkbox=ACTION_CHECKBOX_NAME,
            **context,
        )

    def _revoke(self, request: HttpRequest, chosen: list[ApiKey]) -> None:
        for key in chosen:
            keys.revoke(key)
            self.log_change(request, key, "Revoked.")
        messages.success(request, f"Revoked: {', '.join(map(str, chosen))}.")

    def _secret_page(self, request: HttpRequest, issued: keys.IssuedKey) -> HttpResponse:
        chat = "chat" in issued.key.scopes
        body = json.dumps({"sessionId": str(uuid.uuid4()), "message": "Hello"})
        lines = [
            f"curl -N {request.build_absolute_uri('/chat' if chat else '/usage')}",
            f"-H 'Authorization: Bearer {issued.secret}'",
        ]
        if chat:
            lines += ["-H 'Content-Type: application/json'", f"-d '{body}'"]
        response = TemplateResponse(
            request,
            "tenants_app/key_secret.html",
            {
                **self.admin_site.each_context(request),
                "title": f"API key of {issued.key.tenant}",
                "opts": self.opts,
                "key": issued.key,
                "secret": issued.secret,
                "curl": " \\\n  ".join(lines),
            },
        )
        response["Cache-Control"] = "no-store"
        return response
