"""The page that re-prices a tenant's requests: the difference first, then its corrections;
`usage_app.prices.repricing` writes.
"""

import hashlib
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from tenants_app.models import Model, Tenant
from usage_app import corrections
from usage_app.admin.corrections import demand, page_of, whose, write_once
from usage_app.amounts import exact
from usage_app.corrections import CorrectionRefused, Why
from usage_app.figures import Span
from usage_app.prices import repricing
from usage_app.prices.repricing import Difference, Scope

DAYS_MAX: Final = 366
COLUMNS: Final = ("Model", "Requests", "Charged at", "Price now", "Cost", "Becomes")
STATES: Final = {"by hand": "stays: given by hand", "no price": "stays: no price"}
SENTENCE: Final = (
    "Charges the requests of these days at the prices that the book has now for when they were"
    " made. Nothing that was written changes: each request that differs gets a correction. It"
    " counts on the day of the request, or today, once that month is closed."
)


def day_field(label: str) -> forms.DateField:
    """A day of the tenant's calendar."""
    widget = UnfoldAdminTextInputWidget(attrs={"type": "date"})
    return forms.DateField(label=label, widget=widget, help_text="In the tenant's time zone.")


class RepriceForm(forms.Form):
    """Which requests, and, before anything is written, why."""

    first = day_field("From")
    last = day_field("To")
    model = forms.ModelChoiceField(
        Model.objects.order_by("public_id"),
        required=False,
        empty_label="All models",
        widget=UnfoldAdminSelectWidget,
    )
    reason = forms.CharField(
        required=False,
        max_length=corrections.REASON_MAX,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="On every correction. Needed when they are written.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("first"), cleaned.get("last")
        if first and last and not 0 <= (last - first).days < DAYS_MAX:
            self.add_error("last", f"This must be the first day or later, within {DAYS_MAX} days.")
        return cleaned

    def scope(self, tenant: Tenant) -> Scope:
        """What was chosen."""
        data = self.cleaned_data
        model = data["model"].public_id if data["model"] else None
        return Scope(Span(data["first"], data["last"]), tenant, model)

    def write(self, request: HttpRequest, scope: Scope, found: list[Difference]) -> None:
        """Write what was shown. Raises CorrectionRefused, also if it is another thing by now."""
        if request.POST["write"] != fingerprint(found):
            raise CorrectionRefused("The difference is another one by now: look at it again.")
        why = Why(self.cleaned_data["reason"], request.user.get_username())
        repricing.reprice(scope, why)


def reprice(page: Any, request: HttpRequest, tenant: Tenant | None) -> HttpResponse:
    """The page: it shows the difference, and writes it when it was seen."""
    demand(page, request)
    if tenant is None:
        messages.error(request, "There is no such tenant.")
        return redirect(page.url_of("changelist"))
    today = corrections.today(tenant)
    form = RepriceForm(request.POST or None, initial={"first": today.replace(day=1), "last": today})
    context: dict[str, Any] = {"title": f"Re-price {tenant}", "sentences": [SENTENCE], "rows": None}
    context |= {"facts": whose(tenant), "form": form, "template": "admin/reprice.html"}
    if form.is_valid():
        scope = form.scope(tenant)
        found = repricing.differences(scope)
        if "write" in request.POST and write_once(form, lambda: form.write(request, scope, found)):
            messages.success(request, f"The requests of {tenant} were re-priced.")
            return redirect(page.url_of("change", tenant.pk))
        context |= {"rows": [_row(one) for one in found], "columns": COLUMNS}
        if any(one.state == "differs" for one in found):
            context["seen"] = fingerprint(found)
    return page_of(page, request, **context)


def fingerprint(found: list[Difference]) -> str:
    """Tells one difference from another."""
    told = [
        (one.model, one.state, one.price and one.price.pk, one.requests, one.before, one.after)
        for one in found
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _row(one: Difference) -> tuple[str, ...]:
    becomes = STATES.get(one.state) or exact(one.after)
    cost = exact(one.before) if one.old_price else "unpriced"
    prices = (str(one.old_price or "no price"), str(one.price or "no price"))
    return (one.model, f"{one.requests:,}", *prices, cost, becomes)
