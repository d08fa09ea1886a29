"""The form by which a provider's bill comes in: its file, and which column tells what."""

from typing import Any, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from tenants_app.admin.pages import WordedForm
from tenants_app.models import Upstream
from usage_app.bills import provider_bills
from usage_app.bills.files import COLUMNS, DECIMAL_MARKS, SEPARATORS, BillLine, Layout, told
from usage_app.bills.provider_bills import Upload
from usage_app.figures import Span
from usage_app.models import ProviderBill

MOST_PROBLEMS: Final = 20


def column_field(name: str, help_text: str) -> forms.CharField:
    """The name of a column."""
    return forms.CharField(
        label=f"Column of {told(name)}",
        max_length=200,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=help_text,
    )


class BillForm(WordedForm):
    """A file, what it is about, and which of its columns tells what."""

    file = forms.FileField(
        max_length=200,
        widget=UnfoldAdminFileFieldWidget,
        help_text="The provider's usage file: CSV in UTF-8, its first line naming the columns.",
    )
    upstreams = forms.ModelMultipleChoiceField(
        Upstream.objects.all(),
        widget=UnfoldAdminSelectMultipleWidget,
        help_text="Everything that it bills, all of one kind of provider.",
    )
    separator = forms.ChoiceField(
        label="Columns are separated by", choices=[*SEPARATORS.items()],
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip
    decimal_mark = forms.ChoiceField(
        label="Decimals follow a", choices=[*DECIMAL_MARKS.items()], widget=UnfoldAdminSelectWidget
    )
    reference = column_field("reference", "The provider's id of a request.")
    day = column_field("day", "A day, a time, or seconds since 1970; UTC unless it says an offset.")
    model = column_field("model", "As the provider or we call it.")
    input_tokens = column_field(
        "input_tokens", "With the cached ones. Several columns are joined by +."
    )
    output_tokens = column_field("output_tokens", "Several columns are joined by +.")
    amount = column_field("amount", "Empty: tokens alone are compared.")
    currency = column_field("currency", "Empty: the amounts are in the currency of the books.")

    class Meta:
        model = ProviderBill
        fields = ("first_day", "last_day")
        help_texts = {"first_day": "UTC.", "last_day": "UTC. The last day that it tells of."}

    lines: tuple[BillLine, ...] = ()
    author = ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if self.errors:
            return cleaned
        if cleaned["file"].size > provider_bills.BYTES_MAX:
            self.add_error("file", f"At most {provider_bills.BYTES_MAX:,} bytes: split it by days.")
            return cleaned
        read = provider_bills.read(self.upload)
        self.lines = read.lines
        for problem in read.problems[:MOST_PROBLEMS]:
            self.add_error("file", str(problem))
        if len(read.problems) > MOST_PROBLEMS:
            more = len(read.problems) - MOST_PROBLEMS
            self.add_error("file", f"And {more:,} more. Nothing was imported.")
        return cleaned

    @property
    def upload(self) -> Upload:
        """What was sent."""
        data = self.cleaned_data
        data["file"].seek(0)
        named = (*COLUMNS, "separator", "decimal_mark")
        return Upload(
            name=data["file"].name,
            content=data["file"].read(),
            layout=Layout(**{name: data[name] for name in named}),
            span=Span(data["first_day"], data["last_day"]),
            upstreams=list(data["upstreams"]),
            author=self.author,
        )
