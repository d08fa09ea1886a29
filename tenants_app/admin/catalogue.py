"""Pages of what can be asked and who answers: upstreams, models and routes."""

import re
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.forms import CharField
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldBooleanSwitchWidget

from tenants_app.admin.pages import (
    ConfigurationAdmin,
    PlainDecimalField,
    TabularInline,
    WordedForm,
    display,
)
from tenants_app.models import Model, Route, Upstream
from tenants_app.models.catalogue import ACCOUNT_ID, DESTINATION, GATEWAY_ID

CLOUDFLARE_NEEDS = {
    "form": "Choose which of Cloudflare's APIs is spoken; REST if in doubt.",
    "account_id": "Cloudflare needs the account id; it is in the address of its dashboard.",
    "gateway_id": "Cloudflare needs the gateway's name; default is one that always works.",
}


class UpstreamForm(WordedForm):
    """An upstream; its token goes in and never comes out."""

    token = CharField(
        required=False,
        max_length=4000,
        label="New token",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Write-only. Empty: what is set stays as it is, and goes nowhere else: with"
        " another kind, address, account or gateway it is entered again.",
    )
    remove_token = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Forget the token that is set.",
    )

    class Meta:
        model = Upstream
        fields = "__all__"
        help_texts = {
            "tenant": "Empty: shared by all tenants. Otherwise only this tenant's routes use it.",
            "base_url": "OpenAI-compatible: up to the part before /chat/completions, as in"
            " https://api.example.com/v1. Cloudflare: empty for Cloudflare's own. Demo: empty."
            " Private addresses must be in UPSTREAM_ALLOWED_NETWORKS.",
            "form": "Which of Cloudflare's APIs is spoken: REST is the one that it recommends;"
            " compat is the older unified one; workers-ai speaks to Cloudflare's own models only.",
            "account_id": "In the address of Cloudflare's dashboard, 32 letters and digits.",
            "gateway_id": "The gateway's name there. Cloudflare makes default by itself.",
            "is_default": "Answers for models without a route of their own, for tenants without"
            " a default upstream.",
            "enabled": "Off: its routes are passed over.",
            "connect_timeout_ms": "Until the connection stands.",
            "first_byte_timeout_ms": "From then until the answer begins.",
            "idle_timeout_ms": "Between two pieces of an answer.",
            "total_timeout_ms": "For the whole answer.",
        }

    def clean_token(self) -> str:
        token: str = self.cleaned_data["token"]
        # It becomes a header: anything else could smuggle in another one, or break the request.
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise forms.ValidationError("A token is printable ASCII without spaces.")
        return token

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        is_cloudflare = cleaned.get("kind") == Upstream.Kind.CLOUDFLARE
        for name, missing in CLOUDFLARE_NEEDS.items():
            if is_cloudflare and name not in self.errors and not cleaned.get(name):
                self.add_error(name, missing)
        if not is_cloudflare and cleaned.get("form"):
            self.add_error("form", "Only a Cloudflare AI Gateway has a form; choose none here.")
        for name, pattern in (("account_id", ACCOUNT_ID), ("gateway_id", GATEWAY_ID)):
            value = cleaned.get(name)
            if is_cloudflare and value and not re.fullmatch(pattern, value):
                self.add_error(name, "Letters, digits, - and _ only: it becomes part of a URL.")
        if cleaned.get("token") and cleaned.get("remove_token"):
            self.add_error("remove_token", "Either set a token or remove it.")
        elif not (cleaned.get("token") or cleaned.get("remove_token") or "token" in self.errors):
            self._keep_token_where_it_belongs(cleaned)
        return cleaned

    def _keep_token_where_it_belongs(self, cleaned: dict[str, Any]) -> None:
        """Whoever may change an address must not be sent the token that was given for another."""
        had: Upstream = self.instance
        goes_elsewhere = any(cleaned.get(name, "") != getattr(had, name) for name in DESTINATION)
        if had.sealed_token is not None and goes_elsewhere:
            text = f"The token was given for {had.destination}: enter it again, or remove it."
            self.add_error("token", text)


class RouteForm(WordedForm):
    """A route between a model and an upstream."""

    class Meta:
        model = Route
        fields = "__all__"
        help_texts = {
            "upstream_model": "What the upstream calls the model. Empty: its own id.",
            "tenant": "Empty: for all tenants. A tenant's own routes hide the shared ones.",
            "priority": "Lower is tried first.",
        }


class RouteInline(TabularInline):
    """The routes of a model, or of an upstream."""

    model = Route
    form = RouteForm
    extra = 0
    fields = ("model", "upstream", "upstream_model", "tenant", "priority")
    autocomplete_fields = ("model", "upstream", "tenant")


@admin.register(Upstream)
class UpstreamAdmin(ConfigurationAdmin):
    """The servers that answer, and their write-only tokens."""

    nobodys = "shared by all tenants"

    form = UpstreamForm
    list_display: tuple[str, ...] = (
        "name",
        "owner",
        "kind",
        "base_url",
        "has_token",
        "is_default",
        "enabled",
        "route_count",
    )
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("kind", ChoicesDropdownFilter),
        "enabled",
        "is_default",
    )
    list_select_related = ("tenant",)
    ordering = ("name", "id")
    search_fields = ("name", "base_url", "tenant__slug", "account_id", "gateway_id")
    search_help_text = "Name, address, tenant or gateway"
    autocomplete_fields = ("tenant",)
    readonly_fields = ("token_state", "uuid", "created_at", "updated_at")
    inlines = (RouteInline,)
    fieldsets = (
        (None, {"fields": ("name", "tenant", "kind", "base_url", "is_default", "enabled")}),
        (
            "Cloudflare AI Gateway",
            {
                "description": "Needed by upstreams of that kind. Without a token and a base URL of"
                " its own, such an upstream is sent CLOUDFLARE_API_TOKEN of the environment.",
                "fields": ("form", ("account_id", "gateway_id")),
            },
        ),
        ("Token", {"fields": ("token_state", "token", "remove_token")}),
        (
            "Timeouts, in milliseconds",
            {
                "fields": (
                    ("connect_timeout_ms", "first_byte_timeout_ms"),
                    ("idle_timeout_ms", "total_timeout_ms"),
                )
            },
        ),
        ("Record", {"classes": ("collapse",), "fields": ("uuid", "created_at", "updated_at")}),
    )

    @method_decorator(sensitive_post_parameters("token"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """An error's report must not carry the token."""
        return super().changeform_view(request, *args, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(routes_made=Count("routes"))
        return rows

    def save_model(self, request: HttpRequest, obj: Upstream, form: Any, change: bool) -> None:
        if token := form.cleaned_data.get("token"):
            obj.seal_token(token)
        elif form.cleaned_data.get("remove_token"):
            obj.seal_token("")
        super().save_model(request, obj, form, change)

    @display(description="Token")
    def token_state(self, upstream: Upstream) -> str:
        if upstream.sealed_token is None:
            is_sent_ours = upstream.kind == Upstream.Kind.CLOUDFLARE and not upstream.base_url
            if is_sent_ours and settings.CLOUDFLARE_API_TOKEN:
                return "Not set: CLOUDFLARE_API_TOKEN of the environment is sent."
            return "Not set."
        if upstream.token_changed_at is None:
            return "Set."
        return f"Set since {upstream.token_changed_at:%Y-%m-%d %H:%M} UTC."

    # The token of a form is not a field of the model: without permission to change it, as said.
    token = remove_token = token_state

    @display(description="Token", boolean=True)
    def has_token(self, upstream: Upstream) -> bool:
        return upstream.sealed_token is not None

    @display(description="Tenant", ordering="tenant__slug")
    def owner(self, upstream: Upstream) -> str:
        return str(upstream.tenant) if upstream.tenant else "shared"

    @display(description="Routes", ordering="routes_made")
    def route_count(self, upstream: Any) -> int:
        return int(upstream.routes_made)


class ModelForm(WordedForm):
    """A language model."""

    hold_bytes_per_token = PlainDecimalField(
        max_digits=6,
        decimal_places=3,
        help_text="How many bytes of input are held as one token. 1 is never too little; a larger"
        " number holds less, and what then goes beyond is reported as overrun.",
    )

    class Meta:
        model = Model
        fields = "__all__"
        help_texts = {
            "public_id": "The name that clients send.",
            "name": "For people. Empty: the id.",
            "default_output": "Output tokens when the client names no maximum.",
            "max_output": "Output tokens at most, whatever the client asks.",
            "context_window": "Input and output together. Empty: not known.",
            "template_tokens": "Tokens that the model's own template adds to every prompt, as a"
            " default system prompt does; held for each request.",
            "image_tokens": "Tokens held for each image of a request.",
            "enabled": "Off: nobody is answered by it.",
        }


@admin.register(Model)
class ModelAdmin(ConfigurationAdmin):
    """The language models, by the names that clients use."""

    form = ModelForm
    list_display = (
        "public_id",
        "name",
        "default_output",
        "max_output",
        "context_window",
        "enabled",
        "route_count",
    )
    list_filter = ("enabled",)
    ordering = ("public_id",)
    search_fields = ("public_id", "name")
    search_help_text = "Id or name"
    inlines = (RouteInline,)
    fieldsets = (
        (None, {"fields": ("public_id", "name", "enabled")}),
        (
            "Sizes, in tokens",
            {
                "fields": (
                    ("default_output", "max_output"),
                    ("context_window", "image_tokens"),
                    ("hold_bytes_per_token", "template_tokens"),
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(routes_made=Count("routes"))
        return rows

    @display(description="Routes", ordering="routes_made")
    def route_count(self, model: Any) -> int:
        return int(model.routes_made)


@admin.register(Route)
class RouteAdmin(ConfigurationAdmin):
    """Which upstream answers for which model."""

    form = RouteForm
    list_display = ("model", "upstream", "called", "owner", "priority")
    list_display_links = ("model", "upstream")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("upstream", AutocompleteSelectFilter),
        ("model", AutocompleteSelectFilter),
    )
    list_select_related = ("model", "upstream", "tenant")
    search_fields = ("model__public_id", "upstream__name", "upstream_model", "tenant__slug")
    search_help_text = "Model, upstream or tenant"
    autocomplete_fields = ("model", "upstream", "tenant")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With what a route is called by, also where it is only named."""
        rows: QuerySet[Any] = super().get_queryset(request).select_related("model", "upstream")
        return rows

    @display(description="Called there", ordering="upstream_model")
    def called(self, route: Route) -> str:
        return route.upstream_model or route.model.public_id

    @display(description="Tenant", ordering="tenant__slug")
    def owner(self, route: Route) -> str:
        return str(route.tenant) if route.tenant else "all"
