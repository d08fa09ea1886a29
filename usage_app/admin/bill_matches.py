"""What of a provider's bill met what of the books: on the bill's page, and in lists."""

from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.contrib import admin
from django.db.models import F, Model
from django.db.models.functions import Abs
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from tenants_app.admin.pages import ReadOnlyAdmin, display
from usage_app.admin.reconciliation import signed
from usage_app.amounts import exact
from usage_app.bills import provider_bills
from usage_app.bills.provider_bills import ClassSums
from usage_app.models import ProviderBill, ProviderBillLine, ProviderBillMatch

PERMISSION: Final = "usage_app.match_bill"
MOST_ROWS: Final = 10
SHOWN: Final = (
    ("Missing here", ("missing_here",)),
    ("Missing there", ("missing_there",)),
    ("Largest differences of the others", ("reference", "day", "attempt")),
)


class BillFacts(ReadOnlyAdmin):
    """What everybody sees who may see bills, whose pages link here."""

    linked_lookups = ("bill",)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        user = request.user
        return user.has_perm("usage_app.view_providerbill") or user.has_perm(PERMISSION)


@admin.register(ProviderBillLine)
class ProviderBillLineAdmin(BillFacts):
    """The lines of a bill, as the file has them."""

    list_display = (
        "line", "day", "model", "reference", "input_tokens", "output_tokens", "amount_told", "bill"
    )  # fmt: skip
    list_select_related = ("bill",)
    ordering = ("-bill_id", "line")
    readonly_fields = ("amount_told",)
    exclude = ("amount",)

    @display(description="Amount")
    def amount_told(self, line: ProviderBillLine) -> str:
        return "" if line.amount is None else exact(line.amount)


@admin.register(ProviderBillMatch)
class ProviderBillMatchAdmin(BillFacts):
    """What of a bill met what of the books."""

    list_display = (
        "day",
        "outcome",
        "tenant",
        "model",
        "reference",
        "lines",
        "requests",
        "attempts",
        "tokens_told",
        "money_told",
        "request_told",
        "bill",
    )
    list_filter = (("tenant", AutocompleteSelectFilter), ("outcome", ChoicesDropdownFilter))
    list_select_related = ("tenant", "bill")
    list_fullwidth = True
    ordering = ("-bill_id", "id")
    readonly_fields = ("request_told", "billed_told", "cost_told")
    exclude = ("request_id", "billed_amount", "cost")

    @display(description="Tokens billed / here")
    def tokens_told(self, row: ProviderBillMatch) -> str:
        billed = row.billed_input_tokens + row.billed_output_tokens
        return f"{billed:,} / {row.input_tokens + row.output_tokens:,}"

    @display(description="Money billed / here")
    def money_told(self, row: ProviderBillMatch) -> str:
        return f"{self.billed_told(row)} / {self.cost_told(row)}"

    @display(description="Billed amount")
    def billed_told(self, row: ProviderBillMatch) -> str:
        return exact(row.billed_amount)

    @display(description="Cost here")
    def cost_told(self, row: ProviderBillMatch) -> str:
        return exact(None if row.unpriced and not row.cost else row.cost)

    @display(description="Request")
    def request_told(self, row: ProviderBillMatch) -> SafeString | str:
        if row.request_id is None:
            return ""
        url = reverse("admin:usage_app_ledgerentry_change", args=[row.request_id])
        return format_html(
            '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>',
            *(url, row.request_id),
        )


def result(bill: ProviderBill) -> dict[str, Any]:
    """What the page shows of a bill's matches; as many queries for many matches as for one."""
    matches = reverse("admin:usage_app_providerbillmatch_changelist")
    lines = reverse("admin:usage_app_providerbillline_changelist")
    labels = dict(ProviderBillMatch.Outcome.choices)
    classes = provider_bills.sums(bill)
    rows = [
        _row(one, labels[one.outcome], f"{matches}?bill={bill.pk}&outcome__exact={one.outcome}")
        for one in classes
    ]
    return {
        "rows": [*rows, _row(provider_bills.total(classes), "Total", f"{matches}?bill={bill.pk}")],
        "lists": [(title, _largest(bill, outcomes)) for title, outcomes in SHOWN],
        "lines_url": f"{lines}?bill={bill.pk}",
        "currency": settings.LEDGER_CURRENCY,
    }


def _row(one: ClassSums, label: str, url: str) -> dict[str, Any]:
    tokens = (one.billed_input_tokens, one.billed_output_tokens)
    ours = (one.input_tokens, one.output_tokens)
    return {
        "label": label,
        "url": url,
        "counts": (one.lines, one.requests, one.attempts, one.differing),
        "tokens": (sum(tokens), sum(ours), sum(tokens) - sum(ours)),
        "money": (exact(one.billed_amount), exact(one.cost), signed(one.difference)),
        "unpriced": one.unpriced,
    }


def _largest(bill: ProviderBill, outcomes: tuple[str, ...]) -> list[dict[str, Any]]:
    """The matches that differ most: in money, or in tokens where the bill tells no money."""
    billed = F("billed_input_tokens") + F("billed_output_tokens")
    found = ProviderBillMatch.objects.filter(bill=bill, outcome__in=outcomes)
    found = found.annotate(
        tokens=billed - F("input_tokens") - F("output_tokens"), money=F("billed_amount") - F("cost")
    )
    size = Abs("tokens") if bill.amount is None else Abs("money")
    found = found.exclude(tokens=0, money=Decimal(0)).select_related("tenant")
    return [
        {
            "match": one,
            "tokens": one.tokens,
            "money": signed(one.money),
            "url": reverse("admin:usage_app_providerbillmatch_change", args=[one.pk]),
        }
        for one in found.order_by(size.desc(), Abs("tokens").desc(), "id")[:MOST_ROWS]
    ]
