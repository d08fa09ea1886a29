"""The form that raises a budget for a while, and the sentences that say what it comes to."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.utils import timezone
from unfold.widgets import INPUT_CLASSES, UnfoldAdminDecimalFieldWidget

from tenants_app.admin.reasons import ReasonForm
from tenants_app.models import LIMIT_MAX, Budget
from tenants_app.raises import Terms
from tenants_app.snapshots import COST_PLACES
from usage_app.amounts import exact
from usage_app.fills import Fill
from usage_app.periods import day_period, local_day, month_period
from usage_app.pricing import to_decimal, to_units

# A form that was open for a while, and clocks that are a little apart, do not make it the past.
PATIENCE: Final = timedelta(minutes=1)


class LocalMoment(forms.DateTimeInput):
    """A date and a time of a clock on the wall; the browser brings the calendar."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(
            format="%Y-%m-%dT%H:%M", attrs={"class": " ".join(INPUT_CLASSES), "step": "60"}
        )


def extra_field(budget: Budget) -> forms.DecimalField:
    """How much more, in the budget's unit."""
    places = COST_PLACES if budget.metric == Budget.Metric.COST else 0
    return forms.DecimalField(
        label=f"Extra {unit_of(budget)}",
        min_value=Decimal(1).scaleb(-places),
        max_value=LIMIT_MAX,
        max_digits=24,
        decimal_places=places,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
        help_text=f"On top of the {amount_of(budget, budget.limit)} per {budget.period}.",
        error_messages={
            "min_value": "More than 0.",
            "max_value": "At most 1 000 000 000 000.",
            "max_decimal_places": "Whole ones only." if not places else "At most 10 decimals.",
        },
    )


class RaiseForm(ReasonForm):
    """How much more of a budget, from when until when, and why."""

    starts_at = forms.DateTimeField(
        required=False, widget=LocalMoment, help_text="Empty: from now on."
    )
    ends_at = forms.DateTimeField(widget=LocalMoment)
    field_order = ("extra", "starts_at", "ends_at", "reason")

    def __init__(self, *args: Any, budget: Budget, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.now = now
        self.fields["extra"] = extra_field(budget)
        self.order_fields(self.field_order)
        zone, end = budget.tenant.timezone, end_of(budget, now)
        self.fields["starts_at"].label = f"From, in {zone}"
        self.fields["ends_at"].label = f"Until, in {zone}"
        self.fields["ends_at"].help_text = f"This {budget.period} ends at {at(end)}."
        self.fields["ends_at"].initial = end

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        starts, ends = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts and starts < self.now - PATIENCE:
            self.add_error("starts_at", "This is in the past; leave it empty for now.")
        elif ends and ends <= self.now:
            self.add_error("ends_at", "This is in the past: the raise would be over at once.")
        elif starts and ends and ends <= starts:
            self.add_error("ends_at", "It must end after it begins.")
        return cleaned

    def terms(self) -> Terms:
        """What was asked for; the form is valid."""
        data = self.cleaned_data
        return Terms(data["extra"], data["reason"], data["ends_at"], data["starts_at"])

    @property
    def fingerprint(self) -> str:
        """Tells one raise from another, to whoever has seen what it comes to."""
        terms = self.terms()
        return f"{Decimal(terms.extra).normalize():f}|{terms.starts_at}|{terms.ends_at}"


def would_be(budget: Budget, fill: Fill, now: datetime, terms: Terms | None) -> Sequence[str]:
    """What the limit is now; and once that is known, what with the raise and after it."""
    per = f"per {budget.period}"
    used, held, left = (_units(budget, one) for one in (fill.used, fill.held, fill.remaining))
    told = [f"Now: {_units(budget, fill.allowed)} {per}; {used} used, {held} held, {left} left."]
    if terms is None:
        return [*told, "It falls back by itself; nothing has to be done at its end."]
    begins, ends = terms.starts_at or now, terms.ends_at
    extra = to_units(Decimal(terms.extra)) if budget.metric == "cost" else int(terms.extra)
    since = f"from {at(begins)}" if terms.starts_at else "from now on,"
    # What other raises add is in both.
    with_it, after = fill.limit.at(begins) + extra, fill.limit.at(ends)
    told.append(
        f"With the raise: {_units(budget, with_it)} {per}, {since} until {at(ends)}"
        f" ({budget.tenant.timezone})."
    )
    told.append(
        f"Then: {_units(budget, after)} {per}, by itself. What was used until then stays used."
    )
    return told


def unit_of(budget: Budget) -> str:
    """What it counts."""
    return settings.LEDGER_CURRENCY if budget.metric == "cost" else str(budget.metric)


def amount_of(budget: Budget, amount: Decimal) -> str:
    """An amount with its unit."""
    told = exact(amount) if budget.metric == "cost" else f"{int(amount):,}"
    return f"{told} {unit_of(budget)}"


def at(moment: datetime) -> str:
    """An instant by the clock of the page's time zone."""
    here = timezone.localtime(moment)
    return f"{here:%H:%M} on {here:%a} {here.day} {here:%b %Y}"


def _units(budget: Budget, units: int) -> str:
    return amount_of(budget, to_decimal(units) if budget.metric == "cost" else Decimal(units))


def end_of(budget: Budget, now: datetime) -> datetime:
    """When the window at hand ends."""
    zone = budget.tenant.timezone
    span = day_period if budget.period == Budget.Period.DAY else month_period
    return span(local_day(now, zone), zone).ends_at.astimezone(ZoneInfo(zone))
