"""The page of the price book: prices are added, superseded, and never edited once used."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from tenants_app.admin.pages import ConfigurationAdmin, PlainDecimalField, WordedForm, display
from usage_app import selectors
from usage_app.admin.books import money
from usage_app.models import Price
from usage_app.pricing import PRICE_DECIMALS


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

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and not _frozen(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not _frozen(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Nothing goes with a price; Django's own search would read the whole ledger."""
        return [str(price) for price in objs], {"prices": len(objs)}, set(), []

    @display(description="Input", ordering="input")
    def input_told(self, price: Price) -> str:
        return money(price.input)

    @display(description="Cached input", ordering="cached_input")
    def cached_input_told(self, price: Price) -> str:
        return "as input" if price.cached_input is None else money(price.cached_input)

    @display(description="Cache write", ordering="cache_write")
    def cache_write_told(self, price: Price) -> str:
        return "as input" if price.cache_write is None else money(price.cache_write)

    @display(description="Output", ordering="output")
    def output_told(self, price: Price) -> str:
        return money(price.output)


def _frozen(request: HttpRequest, obj: Model | None) -> bool:
    """Whether a price was used; asked of the database once a page."""
    if not isinstance(obj, Price):
        return False
    known: dict[int, bool] = request.__dict__.setdefault("used_prices", {})
    if obj.pk not in known:
        known[obj.pk] = selectors.is_used(obj)
    return known[obj.pk]
