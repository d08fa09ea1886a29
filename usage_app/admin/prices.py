"""The pages of the price book: prices are added, superseded, and never edited once used; margins
are never changed for the days of a closed month.
"""

from typing import Any, Final

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from tenants_app.admin.pages import ConfigurationAdmin, PlainDecimalField, WordedForm, display
from usage_app import months, selectors
from usage_app.amounts import exact
from usage_app.models import Margin, Price
from usage_app.pricing import PRICE_DECIMALS

MARGIN_OF_A_CLOSED_MONTH: Final = (
    "The month of this day is closed for this tenant: its margin stays as it is. Choose a day in an"
    " open month."
)


def rate_field(help_text: str = "", *, required: bool = True) -> PlainDecimalField:
    """The field of a price per 1M tokens."""
    return PlainDecimalField(
        required=required,
        min_value=0,
        max_digits=14,
        decimal_places=PRICE_DECIMALS,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text=help_text,
    )


class PriceForm(WordedForm):
    """What 1 000 000 tokens of a model cost; more than 4 decimals would have to be rounded."""

    input = rate_field("Per 1 000 000 tokens, at most 4 decimals.")
    cached_input = rate_field("Empty: as input.", required=False)
    cache_write = rate_field("Empty: as input.", required=False)
    output = rate_field("Per 1 000 000 tokens, at most 4 decimals.")

    class Meta:
        model = Price
        fields = ("model", "valid_from", "input", "cached_input", "cache_write", "output")
        help_texts = {"valid_from": "UTC. Until the next price of this model begins."}


@admin.register(Price)
class PriceAdmin(ConfigurationAdmin):
    """The price book. A used price is read-only: add one that supersedes it."""

    form = PriceForm
    list_display = (
        "model",
        "valid_from",
        "input_told",
        "cached_input_told",
        "cache_write_told",
        "output_told",
    )
    list_display_links = ("model", "valid_from")
    list_filter = (("model", AutocompleteSelectFilter),)
    list_select_related = ("model",)
    search_fields = ("model__public_id", "model__name")
    search_help_text = "Model"
    autocomplete_fields = ("model",)
    # Deleting many would look for entries of each in a ledger that has no index for it.
    actions = None
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "model",
                    "valid_from",
                    ("input", "cached_input"),
                    ("output", "cache_write"),
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the model, by which a price is called also where it is only named."""
        rows: QuerySet[Any] = super().get_queryset(request).select_related("model")
        return rows

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and not _is_frozen(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not _is_frozen(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Nothing goes with a price; Django's own search would read the whole ledger."""
        return [str(price) for price in objs], {"prices": len(objs)}, set(), []

    @display(description="Input", ordering="input")
    def input_told(self, price: Price) -> str:
        return exact(price.input)

    @display(description="Cached input", ordering="cached_input")
    def cached_input_told(self, price: Price) -> str:
        return "as input" if price.cached_input is None else exact(price.cached_input)

    @display(description="Cache write", ordering="cache_write")
    def cache_write_told(self, price: Price) -> str:
        return "as input" if price.cache_write is None else exact(price.cache_write)

    @display(description="Output", ordering="output")
    def output_told(self, price: Price) -> str:
        return exact(price.output)


class MarginForm(WordedForm):
    """What a tenant pays on top of the cost, from a day of an open month on."""

    percent = PlainDecimalField(
        min_value=-100,
        max_digits=8,
        decimal_places=4,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="On top of the cost: 20 makes a cost of 1.00 a price of 1.20. Negative: less than"
        " the cost; -100 gives it away.",
    )

    class Meta:
        model = Margin
        fields = ("tenant", "valid_from", "percent")
        help_texts = {
            "valid_from": "The tenant's calendar day. Until its next margin begins; before its"
            " first one the price is the cost."
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        tenant, day = cleaned.get("tenant"), cleaned.get("valid_from")
        if tenant and day and months.is_closed(tenant, day):
            self.add_error("valid_from", MARGIN_OF_A_CLOSED_MONTH)
        return cleaned


@admin.register(Margin)
class MarginAdmin(ConfigurationAdmin):
    """The tenants' margins. One that begins in a closed month is read-only: add a later one."""

    tenant_path = "tenant"
    form = MarginForm
    list_display = ("tenant", "valid_from", "percent_told")
    list_display_links = ("tenant", "valid_from")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    list_select_related = ("tenant",)
    search_fields = ("tenant__slug", "tenant__name")
    search_help_text = "Tenant"
    autocomplete_fields = ("tenant",)
    # One of a closed month would keep all the chosen ones.
    actions = None
    fieldsets = ((None, {"fields": ("tenant", ("valid_from", "percent"))}),)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and not _is_frozen(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not _is_frozen(request, obj)

    @display(description="Percent", ordering="percent")
    def percent_told(self, margin: Margin) -> str:
        return f"{margin.percent.normalize():f} %"


def _is_frozen(request: HttpRequest, obj: Model | None) -> bool:
    """Whether the books depend on a price or a margin; asked of the database once a page."""
    if not isinstance(obj, Price | Margin):
        return False
    known: dict[Model, bool] = request.__dict__.setdefault("frozen", {})
    if obj not in known:
        known[obj] = (
            selectors.is_used(obj)
            if isinstance(obj, Price)
            else months.is_closed(obj.tenant, obj.valid_from)
        )
    return known[obj]
