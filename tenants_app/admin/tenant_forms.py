"""The forms of a tenant's page: what they ask, and what they say when an answer makes no sense."""

from collections.abc import Iterable
from typing import Any
from zoneinfo import available_timezones

from django import forms
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelect2Widget

from tenants_app.admin.pages import WordedForm, WordedFormSet
from tenants_app.models import LIMIT_MAX, Budget, Tenant, TenantHost

# The two plain fields, and the period of each.
TOKEN_BUDGETS = {"daily_tokens": Budget.Period.DAY, "monthly_tokens": Budget.Period.MONTH}


def token_field(period: str) -> forms.IntegerField:
    """The field of a token budget."""
    return forms.IntegerField(
        required=False,
        min_value=1,
        max_value=int(LIMIT_MAX),
        widget=UnfoldAdminIntegerFieldWidget,
        label=f"Tokens per {period}",
        help_text=f"Input and output of the whole tenant, in one {period} of its time zone."
        " Empty: no budget.",
        error_messages={
            "invalid": "Whole tokens in digits only, such as 1000000; empty for no budget.",
            "min_value": "With a budget of 0 every request would be refused: suspend the tenant"
            " instead, which says so to its clients. Empty means no budget.",
            "max_value": "At most 1 000 000 000 000; empty for no budget.",
        },
    )


class TenantForm(WordedForm):
    """A tenant, with its daily and monthly token budgets as two plain fields."""

    daily_tokens = token_field("day")
    monthly_tokens = token_field("month")
    timezone = forms.ChoiceField(
        choices=[(name, name) for name in sorted(available_timezones())],
        initial="UTC",
        widget=UnfoldAdminSelect2Widget,
        label="Time zone",
        help_text="Its days and months begin here. It cannot be changed after the first request.",
        error_messages={
            "invalid_choice": "There is no time zone “%(value)s”. Choose one of the IANA database,"
            " such as UTC, Europe/Berlin or America/New_York."
        },
    )

    class Meta:
        model = Tenant
        fields = "__all__"
        labels = {
            "timezone": "Time zone",
            "cost_center": "Cost centre",
            "allow_list_enabled": "Allow-list",
        }
        error_messages = {
            "slug": {
                "invalid": "Use small letters, digits, - and _ only, and begin with a letter or"
                " digit.",
                "unique": "Another tenant has this slug: choose one that is free.",
            }
        }
        help_texts = {
            "name": "For people.",
            "slug": "Its name in x-tenant-id, reports and logs: small letters, digits, - and _.",
            # Shown where the field is read-only.
            "timezone": "Its days and months begin here; frozen since its first request.",
            "cost_center": "Written on every ledger entry from the next request on; reports group"
            " by it.",
            "default_model": "For requests that name no model. Empty: they get 404.",
            "default_upstream": "For models without a route. Empty: the shared default.",
            "allow_list_enabled": "On: any model but the allowed ones gets 403. Off: every model.",
            "allowed_models": "What the allow-list allows; without effect while it is off.",
            "session_memory": "Off: no text of a conversation is stored.",
            "session_retention_days": "Messages older than this are deleted.",
            "max_messages_per_session": "The oldest beyond this are deleted.",
            "context_messages": "How many earlier messages the model is sent. 0: none.",
            "context_tokens": "And how many tokens of them, estimated; less where the model's"
            " window is smaller.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial.update(token_budgets(self.instance))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        model = cleaned.get("default_model")
        allowed: Any = cleaned.get("allowed_models")
        if not cleaned.get("allow_list_enabled") or allowed is None:
            return cleaned
        if not allowed:
            self.add_error(
                "allowed_models",
                "The allow-list is on, and nothing is on it: every request would be refused. Add"
                " models, or switch it off.",
            )
        elif model and model not in allowed:
            self.add_error(
                "default_model",
                f"“{model}” is not among the allowed models: add it there, or choose one of"
                f" {some(allowed)}.",
            )
        return cleaned


def some(models: Iterable[Any], most: int = 5) -> str:
    """The names of a few, and whether there are more."""
    names = [str(model) for model in models]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def token_budgets(tenant: Tenant) -> dict[str, int]:
    """The limits of the plain fields that are set, by field."""
    rows = Budget.objects.for_tenant(tenant).filter(team=None, api_key=None)
    rows = rows.filter(metric=Budget.Metric.TOKENS)
    limits = dict(rows.values_list("period", "limit"))
    return {name: int(limits[period]) for name, period in TOKEN_BUDGETS.items() if period in limits}


def set_token_budget(tenant: Tenant, period: str, limit: int | None) -> None:
    """Make, change or (None) delete the tenant's token budget of a day or a month."""
    scope: dict[str, Any] = {"team": None, "api_key": None}
    scope |= {"metric": Budget.Metric.TOKENS, "period": period}
    if limit is None:
        Budget.objects.for_tenant(tenant).filter(**scope).delete()
    else:
        Budget.objects.update_or_create(tenant=tenant, **scope, defaults={"limit": limit})


class HostForm(WordedForm):
    """A host of a tenant."""

    class Meta:
        model = TenantHost
        fields = ("host",)
        error_messages = {
            "host": {
                "invalid": "A host is a name such as chat.example.com, in small letters, without"
                " https://, port or path.",
                "unique": "A tenant has this host already: a host leads to one tenant only.",
            }
        }


class FallbackFormSet(WordedFormSet):
    """The fallback chain; whatever numbers the form sends, they become 1, 2, 3."""

    def clean(self) -> None:
        kept = [
            form
            for form in self.forms
            if form.is_valid() and form.cleaned_data and not form.cleaned_data.get("DELETE")
        ]
        kept.sort(key=lambda form: form.cleaned_data.get("position") or 0)
        for place, form in enumerate(kept, start=1):
            form.cleaned_data["position"] = form.instance.position = place
            if form.initial.get("position") != place and "position" not in form.changed_data:
                form.changed_data.append("position")
        self._refuse_repeated(kept)
        super().clean()

    def _refuse_repeated(self, kept: list[Any]) -> None:
        above = set()
        for form in kept:
            model = form.cleaned_data.get("model")
            if model in above:
                form.add_error(
                    "model",
                    f"“{model}” is a fallback above already: choose another, or remove this row.",
                )
            above.add(model)
