"""The forms by which staff corrects a request and gives a credit, and the pages around them;
`usage_app.corrections` writes.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from tenants_app.models import Tenant
from tenants_app.tracing import uuid7
from usage_app import corrections
from usage_app.amounts import exact
from usage_app.corrections import Change, CorrectionRefused, Standing, Why
from usage_app.models import LedgerEntry
from usage_app.pricing import COST_PLACES, UsageFigures

PERMISSION: Final = "usage_app.correct_ledger"
NO_ENTRY: Final = (
    "The ledger has no such entry. Those of closed months that were taken out of it cannot be"
    " corrected any more; give the tenant a credit instead."
)


def token_field(label: str, help_text: str = "") -> forms.IntegerField:
    """Tokens to add or, with a minus, to take away."""
    return forms.IntegerField(
        label=label,
        required=False,
        min_value=-corrections.TOKENS_MAX,
        max_value=corrections.TOKENS_MAX,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=help_text,
    )


def money_field(label: str, **options: Any) -> forms.DecimalField:
    """An amount in the ledger's currency."""
    return forms.DecimalField(
        label=label,
        max_digits=24,
        decimal_places=COST_PLACES,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
        **options,
    )


class LaterFactForm(forms.Form):
    """What every later fact has: an id, made with the form so that it is written once, and why."""

    id = forms.UUIDField(widget=forms.HiddenInput, initial=uuid7)
    reason = forms.CharField(
        max_length=corrections.REASON_MAX,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="On the entry, for whoever asks later. It cannot be changed.",
    )

    def why(self, request: HttpRequest) -> Why:
        return Why(self.cleaned_data["reason"], request.user.get_username())


class CorrectionForm(LaterFactForm):
    """What is added to a request."""

    input_tokens = token_field("Input tokens", "To add; with a minus, to take away.")
    cached_tokens = token_field("Of these cached")
    cache_write_tokens = token_field("Of these written to a cache")
    output_tokens = token_field("Output tokens", "To add; with a minus, to take away.")
    reasoning_tokens = token_field("Of these reasoning")
    cost = money_field(
        "Cost",
        required=False,
        help_text="To add; with a minus, to take away. Empty: what these tokens cost at the price"
        " the request was charged at.",
    )
    field_order = (*corrections.COLUMNS, "cost", "reason")

    def write(self, request: HttpRequest, charged: LedgerEntry) -> bool:
        """Write the correction; whether it was new."""
        data = self.cleaned_data
        tokens = UsageFigures(*(data[name] or 0 for name in corrections.COLUMNS))
        change = Change(tokens=tokens, cost=data["cost"])
        return corrections.correct(charged, change, self.why(request), correction_id=data["id"])


class CreditForm(LaterFactForm):
    """Money alone."""

    favour = forms.ChoiceField(
        label="It is",
        choices=[
            ("tenant", "a credit: the tenant pays less"),
            ("us", "a charge: the tenant pays more"),
        ],
        initial="tenant",
        widget=UnfoldAdminRadioSelectWidget,
    )
    amount = money_field("Amount", min_value=Decimal(1).scaleb(-COST_PLACES))
    cost_center = forms.CharField(
        label="Cost centre", required=False, max_length=100, widget=UnfoldAdminTextInputWidget
    )
    field_order = ("favour", "amount", "cost_center", "reason")

    def write(self, request: HttpRequest, tenant: Tenant) -> bool:
        """Write the credit; whether it was new."""
        data = self.cleaned_data
        amount = -data["amount"] if data["favour"] == "tenant" else data["amount"]
        return corrections.credit(
            tenant,
            amount,
            self.why(request),
            cost_center=data["cost_center"],
            credit_id=data["id"],
        )


def correct(page: Any, request: HttpRequest, entry: LedgerEntry | None) -> HttpResponse:
    """The page that corrects the request an entry is about."""
    demand(page, request)
    charged = entry and corrections.request_of(entry)
    if charged is None:
        messages.error(request, _why_none(entry))
        return redirect(page.url_of("changelist"))
    form = CorrectionForm(request.POST or None)
    if write_once(form, lambda: form.write(request, charged)):
        messages.success(request, f"The request {charged.id} was corrected.")
        return redirect(page.url_of("change", charged.pk))
    stands = corrections.standing(charged)
    context = {"title": f"Correct {charged.id}", "button": "Write the correction", "form": form}
    return page_of(page, request, facts=_facts(stands), sentences=[_DAY_OF_CORRECTION], **context)


def _why_none(entry: LedgerEntry | None) -> str:
    """Why there is no request to correct."""
    if entry is not None and entry.kind == LedgerEntry.Kind.CREDIT:
        return "There is no request to correct: a credit is set off by another."
    return corrections.GONE if entry else NO_ENTRY


def credit(page: Any, request: HttpRequest, tenant: Tenant | None) -> HttpResponse:
    """The page that gives a tenant a credit, or charges it."""
    demand(page, request)
    if tenant is None:
        messages.error(request, "There is no such tenant.")
        return redirect(page.url_of("changelist"))
    form = CreditForm(request.POST or None, initial={"cost_center": tenant.cost_center})
    if write_once(form, lambda: form.write(request, tenant)):
        messages.success(request, f"Written to the ledger of {tenant}.")
        return redirect(
            f"{reverse('admin:usage_app_ledgerentry_changelist')}?tenant__id__exact={tenant.pk}"
        )
    context = {"title": f"Credit for {tenant}", "button": "Write the credit", "form": form}
    facts = [*whose(tenant), ("Day", str(corrections.today(tenant)))]
    return page_of(page, request, facts=facts, sentences=[_DAY_OF_CREDIT], **context)


_DAY_OF_CORRECTION: Final = (
    "Nothing that was written changes: a correction is an entry of its own. It counts on the day"
    " of the request, or today, once that month is closed. Budgets do not move."
)
_DAY_OF_CREDIT: Final = (
    "Money alone, without tokens: it counts today, on top of the price, without a margin."
)


def demand(page: Any, request: HttpRequest) -> None:
    """Raises PermissionDenied without the right to correct and to view the page."""
    if not (request.user.has_perm(PERMISSION) and page.has_view_permission(request)):
        raise PermissionDenied


def whose(tenant: Tenant) -> list[tuple[str, str]]:
    """Whose ledger it is, and in what it is counted."""
    return [("Tenant", f"{tenant.name} ({tenant.slug})"), ("Currency", settings.LEDGER_CURRENCY)]


def write_once(form: forms.Form, write: Callable[[], Any]) -> bool:
    """Whether a form was sent and is on the ledger now; a second time it changes nothing."""
    if not form.is_valid():
        return False
    try:
        write()
    except CorrectionRefused as refusal:
        form.add_error(None, str(refusal))
    return not form.errors


def _facts(stands: Standing) -> list[tuple[str, str]]:
    """What a request comes to so far, in words."""
    tokens = stands.tokens
    return [
        *whose(stands.request.tenant),
        ("Model", stands.model),
        ("Day", str(stands.request.local_day)),
        ("Input tokens", f"{tokens.input:,}"),
        ("Of these cached", f"{tokens.cached:,}"),
        ("Of these written to a cache", f"{tokens.cache_write:,}"),
        ("Output tokens", f"{tokens.output:,}"),
        ("Of these reasoning", f"{tokens.reasoning:,}"),
        ("Cost", exact(stands.cost)),
        ("Price", str(stands.price or "none")),
    ]


def page_of(page: Any, request: HttpRequest, **context: Any) -> TemplateResponse:
    """The page with a form for a later fact; `template` is another one that extends it."""
    template = context.pop("template", "admin/later_fact.html")
    context = {**page.admin_site.each_context(request), "opts": page.opts, **context}
    return TemplateResponse(request, template, context)
