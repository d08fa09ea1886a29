"""The pages of providers' bills: imported by a form, matched with the books, shown with what came
of it. `usage_app.bills.provider_bills` imports and matches.
"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString

from tenants_app.admin.pages import action, confirmation, display
from tenants_app.admin.refusals import REFUSALS, sentence
from tenants_app.models import Upstream
from usage_app.admin import bill_matches
from usage_app.admin.bill_forms import BillForm
from usage_app.admin.bill_matches import PERMISSION, BillFacts
from usage_app.admin.books import pretty
from usage_app.amounts import exact
from usage_app.bills import provider_bills
from usage_app.bills.files import Layout
from usage_app.models import ProviderBill


@admin.register(ProviderBill)
class ProviderBillAdmin(BillFacts):
    """Bills as they came, and what matching them gave."""

    form = BillForm
    list_display = (
        "name",
        "kind",
        "names_told",
        "first_day",
        "last_day",
        "lines",
        "amount_told",
        "state",
        "difference_told",
        "imported_at",
    )
    ordering = ("-id",)
    actions_list = ("import_bill",)
    actions_detail = ("match_again",)
    change_form_outer_before_template = "admin/provider_bill.html"
    import_fieldsets = (
        (None, {"fields": ("file", "upstreams", ("first_day", "last_day"))}),
        (
            "Columns, by their names in the first line",
            {
                "fields": (
                    ("reference", "day", "model"),
                    ("input_tokens", "output_tokens"),
                    ("amount", "currency"),
                    ("separator", "decimal_mark"),
                )
            },
        ),
    )
    fieldsets = (
        (
            "Bill",
            {
                "fields": (
                    ("name", "kind", "names_told"),
                    ("first_day", "last_day", "lines"),
                    ("amount_told", "currency"),
                    ("imported_by", "imported_at", "matched_at"),
                    ("digest", "layout_told"),
                )
            },
        ),
    )
    readonly_fields = ("names_told", "amount_told", "layout_told")

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.import_fieldsets if obj is None else self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return () if obj is None else self.readonly_fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSION)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm(PERMISSION)

    def has_match_bill_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm(PERMISSION)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Last month, and columns as they were last time for `?kind=`, or for any."""
        last = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
        initial: dict[str, Any] = {"first_day": last.replace(day=1), "last_day": last}
        newest = ProviderBill.objects.order_by("-id")
        if kind := request.GET.get("kind", "").replace("\0", ""):
            newest = newest.filter(kind=kind)
        bill = newest.first()
        if bill is not None:
            named = [(one["name"], one["tenant"]) for one in bill.upstreams]
            known = Upstream.objects.filter(name__in=[name for name, _ in named])
            chosen = [one for one in known if (one.name, one.tenant_id) in named]
            initial |= {**asdict(Layout(**bill.layout)), "upstreams": chosen}
        return initial

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            # Its other fields are of the file, though some are named as columns of the bill.
            kwargs["fields"] = BillForm.Meta.fields
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.author = request.user.get_username()
        return form

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The form that imports a bill; another import of the same may have been faster."""
        billed = set(ProviderBill.objects.values_list("kind", flat=True).distinct())
        context = {
            "title": "Import a provider's bill",
            "kinds": [choice for choice in Upstream.Kind.choices if choice[0] in billed],
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
        }
        try:
            return super().add_view(request, form_url, context | (extra_context or {}))
        except REFUSALS as error:
            messages.error(request, sentence(error))
        return redirect(self.url_of("add"))

    def save_model(self, request: HttpRequest, obj: ProviderBill, form: Any, change: bool) -> None:
        obj.pk = provider_bills.record(form.upload, form.lines).pk
        obj.refresh_from_db()

    def response_post_save_add(self, request: HttpRequest, obj: ProviderBill) -> Any:
        return redirect(self.url_of("change", obj.pk))

    def delete_model(self, request: HttpRequest, obj: ProviderBill) -> None:
        provider_bills.remove(obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its lines and matches go with a bill; Django would read all of them."""
        return [str(bill) for bill in objs], {"bills": len(objs)}, set(), []

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The bill's classes with their sums, and the largest of what needs a look."""
        bill = self.get_object(request, object_id)
        result = bill_matches.result(bill) if bill and self.has_view_permission(request) else {}
        return super().change_view(request, object_id, form_url, result | (extra_context or {}))

    @action(description="Import a bill", icon="upload_file", permissions=["match_bill"])
    def import_bill(self, request: HttpRequest) -> HttpResponse:
        """To the form."""
        return redirect(self.url_of("add"))

    @action(description="Match again", icon="autorenew", permissions=["match_bill"])
    def match_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The matches anew, from the books as they are."""
        bill: ProviderBill | None = self.get_object(request, object_id)
        if bill is None:
            messages.error(request, "There is no such bill.")
            return redirect(self.url_of("changelist"))
        if request.POST.get("confirmed") != "yes":
            return confirmation(
                self,
                request,
                title=f"Match {bill} again",
                button="Match again",
                sentences=["Its matches are made anew from the books as they are now."],
                confirmed="yes",
                objects=[bill],
            )
        provider_bills.match(bill)
        self.log_change(request, bill, "Matched again.")
        messages.success(request, "Matched with the books as they are now.")
        return redirect(self.url_of("change", bill.pk))

    @display(description="Upstreams")
    def names_told(self, bill: ProviderBill) -> str:
        return bill.names

    @display(description="Amount")
    def amount_told(self, bill: ProviderBill) -> str:
        return "not told" if bill.amount is None else exact(bill.amount)

    @display(description="Beyond the books")
    def difference_told(self, bill: ProviderBill) -> str:
        return "not told" if bill.difference is None else exact(bill.difference)

    @display(description="Columns")
    def layout_told(self, bill: ProviderBill) -> SafeString:
        return pretty({name: column for name, column in bill.layout.items() if column})

    @display(description="Matched", label={"all": "success", "missing": "danger"})
    def state(self, bill: ProviderBill) -> tuple[str, str]:
        if not (bill.missing_here or bill.missing_there):
            return "all", "all"
        return "missing", f"{bill.missing_here:,} missing here, {bill.missing_there:,} there"
