"""Pages of API keys: the list, a key's form, and the form that issues one, which is shown once.

What becomes of a key that is there is `key_life`'s.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from tenants_app import keys
from tenants_app.admin.budgets import KeyBudgetInline
from tenants_app.admin.key_batches import list_url
from tenants_app.admin.key_life import KeyLife, secret_page
from tenants_app.admin.pages import WordedForm, action, display
from tenants_app.models import ApiKey
from tenants_app.models.keys import default_scopes

RECORD = ("shown", "state", "created_at", "last_used")
STATES = {"live": "success", "expired": "warning", "revoked": "danger"}


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

    @display(description="Secret before it")
    def secret_before(self, key: ApiKey) -> str:
        return f"works until {key.overlaps_until:%Y-%m-%d %H:%M} UTC" if key.overlaps_until else ""

    @display(description="Issued together")
    def together(self, key: ApiKey) -> SafeString | str:
        if key.batch is None:
            return ""
        return format_html('<a href="{}">with the keys of one file</a>', list_url(key.batch))

    @display(description="Scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @display(description="Last used")
    def last_used(self, key: ApiKey) -> str:
        use = getattr(key, "use", None)
        return f"{use.last_used_at:%Y-%m-%d %H:%M}" if use else "never"


@admin.register(ApiKey)
class ApiKeyAdmin(KeyColumns, KeyLife):
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
    actions_list = ("issue",)
    add_form_template = "tenants_app/key_form.html"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and obj.is_playground:
            return ("tenant", "name", *RECORD)
        fields = ("tenant", "team", "name", "scopes", "expires_at")
        return fields if obj is None else (*fields, *self._record(obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and obj.is_playground:
            return ("tenant", "name", *RECORD)
        return RECORD if obj is None else ("tenant", "team", *self._record(obj))

    def _record(self, key: ApiKey) -> tuple[str, ...]:
        more = {"secret_before": key.overlaps_until, "together": key.batch}
        return (*RECORD, *(name for name, is_there in more.items() if is_there))

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
        return secret_page(self, request, request.issued)  # type: ignore[attr-defined]

    @action(description="Issue key", icon="key", permissions=["add"])
    def issue(self, request: HttpRequest) -> HttpResponse:
        """To the form that issues a key."""
        return redirect(self.url_of("add"))
